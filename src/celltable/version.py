"""The version of celltable, which every store and every download names."""

VERSION = "0.1.0"
