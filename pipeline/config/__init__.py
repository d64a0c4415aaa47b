"""What a run is to do, read from YAML and checked before anything heavy is imported."""

from pipeline.config.loading import load_config
from pipeline.config.models import (
    PipelineConfig,
    TrackingConfig,
    flatten,
    resolved,
    yaml_text,
)
from pipeline.config.problems import ConfigError
from pipeline.config.schema import config_schema

__all__ = [
    "ConfigError",
    "PipelineConfig",
    "TrackingConfig",
    "config_schema",
    "flatten",
    "load_config",
    "resolved",
    "yaml_text",
]
