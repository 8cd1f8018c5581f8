# Copyright (c) 2026, llmops.ollama contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab: a fleet of real hosts in containers on this machine, with a real engine and real models.

cache      what is built once a machine and shared by all checkouts
debian     the mirror that this machine uses, and root file systems made from it
images     container images that run systemd
engine     an Ollama release, built and packed like an official one
models     a model store, filled by the engine itself
sources    whether the official release and registry can be used instead
hosts      the fleets: which hosts, how large, in which groups
fleet      containers and network: up, down, status
inventory  the Ansible inventory of a running fleet
steps      running commands and showing how far they are
"""
