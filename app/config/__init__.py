"""Settings, tenants, targets and role maps: parsed and checked once, typed."""

from app.config.load import load
from app.config.settings import Settings
from app.config.target import Host, Target
from app.config.tenant import GroupMapping, RoleDefinition, Tenant

__all__ = ["GroupMapping", "Host", "RoleDefinition", "Settings", "Target", "Tenant", "load"]
