"""`scim2-server` as a peer: its application in memory, by a server that keeps connections.

python benchmarks/peer_servers/scim2.py PORT, with the interpreter that `peers.py` has made
"""

import secrets
import sys

from scim2_models import ScimProvider
from scim2_server.applications.wsgi import WSGIApplication
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)
from waitress import serve

provider = ScimProvider.from_discovery(
    load_default_schemas().values(),
    load_default_resource_types().values(),
    config=load_default_service_provider_config(),
)
service = ScimService(provider, secret=secrets.token_urlsafe(32))
serve(
    WSGIApplication(InMemoryStorage(), provider, service),
    host="127.0.0.1",
    port=int(sys.argv[1]),
    threads=4,
)
