"""The settings in force on this machine.

What belongs here: finding the embedded default where AWS is not set up.
"""

import logging
import os

from bedrock_pipeline.local.endpoints import environment, read_endpoints
from bedrock_pipeline.local.home import default_home
from bedrock_pipeline.settings import NotConfiguredError, Settings

_LOG = logging.getLogger(__name__)


def settings_here() -> Settings:
    """The settings of the environment, else of the embedded default that runs here.

    Raises:
        NotConfiguredError: there is neither.
    """
    try:
        return Settings.from_environment()
    except NotConfiguredError:
        endpoints = read_endpoints(default_home())
        if endpoints is None:
            raise
    _LOG.info("No AWS setting: using the embedded default at %s.", endpoints.home)
    os.environ.update(environment(endpoints))
    return Settings.from_environment()
