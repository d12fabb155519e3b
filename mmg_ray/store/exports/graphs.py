"""Networks as XML, by NetworkX."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import networkx as nx

from mmg_ray.network.graph import Network

# XML 1.0 has no place for these
_NO_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def graphml(network: Network) -> bytes:
    """GraphML: nodes are the variables, edges have every number."""
    return _xml(network, nx.write_graphml)


def gexf(network: Network) -> bytes:
    """GEXF 1.2."""
    return _xml(network, nx.write_gexf)


def _xml(network: Network, write: Callable[[Any, Any], None]) -> bytes:
    graph = network.to_networkx()
    clean = {name: _NO_XML.sub("\N{REPLACEMENT CHARACTER}", name) for name in graph}
    if len(set(clean.values())) == len(clean):  # never two variables in one node
        graph = nx.relabel_nodes(graph, clean)
    else:
        graph = nx.relabel_nodes(
            graph, {name: f"{new} ({k})" for k, (name, new) in enumerate(clean.items())}
        )
    buffer = io.BytesIO()
    write(graph, buffer)
    return buffer.getvalue()
