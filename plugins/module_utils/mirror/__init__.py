# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A directory of releases and models that a fleet installs from, and that can be carried to a site without internet.

layout   which file is where, and how one gets there whole
origin   where files come from: the official addresses, another mirror, or a bundle
plan     what is missing, damaged or superfluous
fill     carrying that out
archive  the whole directory as one file
"""
