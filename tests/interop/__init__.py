"""Tests of readers and exports."""
