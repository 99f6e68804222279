"""What the measurements leave: a JSON document with hardware, versions and command, and tables for people."""
