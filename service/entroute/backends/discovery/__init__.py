"""Workers that come and go: found again and again by DNS, or told of by Kubernetes."""

from typing import Annotated

from pydantic import Field

from entroute.backends.discovery.dns import DnsDiscovery
from entroute.backends.discovery.kubernetes import KubernetesDiscovery

DiscoverySettings = Annotated[DnsDiscovery | KubernetesDiscovery, Field(discriminator="kind")]
"""Where a tier's workers are found, told apart by `kind`."""

__all__ = ["DiscoverySettings", "DnsDiscovery", "KubernetesDiscovery"]
