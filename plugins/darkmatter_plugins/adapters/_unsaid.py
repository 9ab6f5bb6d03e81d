"""Sentences about what no file of a format records: the same words in all formats."""

from __future__ import annotations

from darkmatter import api

DATASET = api.Assumption("dataset not recorded.", to_be_sure="the publisher's page or the training script")
