"""What paths name, whatever slashes clients put around them."""

from __future__ import annotations

import pytest

from app.http.routes import find_route

NAMED: dict[str, tuple[str, str, set[str]]] = {  # path: endpoint, id, methods
    "/scim/acme/v2": ("", "", {"GET"}),
    "/scim/acme/v2/": ("", "", {"GET"}),
    "/scim/acme/v2/.search": ("", "", {"POST"}),
    "/scim/acme/v2/Users": ("Users", "", {"GET", "POST"}),
    "/scim/acme/v2/Users/": ("Users", "", {"GET", "POST"}),
    "/scim/acme/v2//Users": ("Users", "", {"GET", "POST"}),
    "/scim/acme/v2//Users/": ("Users", "", {"GET", "POST"}),
    "/scim/acme/v2/Agents/.search": ("Agents", "", {"POST"}),
    "/scim/acme/v2/Groups/7": ("Groups", "7", {"GET", "PUT", "PATCH", "DELETE"}),
    "/scim/acme/v2//Groups/a%2Fb%20c/": ("Groups", "a/b c", {"GET", "PUT", "PATCH", "DELETE"}),
    "/scim/%61cme/v2/Schemas": ("Schemas", "", {"GET"}),
    "/scim/acme/v2/Schemas/urn:x": ("Schemas", "urn:x", {"GET"}),
    "/scim/acme/v2/ResourceTypes/User": ("ResourceTypes", "User", {"GET"}),
    "/scim/acme/v2/ServiceProviderConfig": ("", "", {"GET"}),
    "/scim/acme/v2/Bulk": ("", "", {"POST"}),
    "/scim/acme/v2/Me": ("", "", {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}),
    "/scim/acme/v2/users": ("", "", set()),
    "/scim/acme/v2/Nothing/7": ("", "", set()),
    "/scim/acme/v2/Users/7/groups": ("", "", set()),
    "/scim/acme/v1/Users": ("", "", set()),
    "/scim/acme": ("", "", set()),
    "/ops/acme/lanes": ("", "", {"GET"}),
    "/ops/acme/nothing": ("", "", set()),
}


@pytest.mark.parametrize("path", NAMED)
def test_a_path_names_its_resource_and_what_may_be_done_with_it(path: str) -> None:
    route = find_route(path)
    assert route is not None
    assert route.tenant == "acme"
    assert route.is_ops == path.startswith("/ops/")
    assert route.is_search == path.endswith(".search")
    endpoint, id_, methods = NAMED[path]
    assert (route.endpoint, route.id) == (endpoint, id_)
    assert set(route.handlers) - {"HEAD"} == methods
    assert ("HEAD" in route.handlers) == ("GET" in methods)


@pytest.mark.parametrize(
    "path", ["/", "", "*", "/scim", "/healthz", "//scim/acme/v2/Users", "/ops"]
)
def test_what_belongs_to_no_tenant_is_no_route(path: str) -> None:
    assert find_route(path) is None
