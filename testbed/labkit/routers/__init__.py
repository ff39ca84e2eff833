"""What a router says about its sessions and routes, in one form for all of them.

Every answer is the router's own output; nothing is taken from FerroLB. Sessions go by the names
that a topology's neighbours have, whatever the router itself calls them.
"""

from .base import ADMINISTRATIVE_SHUTDOWN, HOLD_TIMER_EXPIRED, Path, Router
from .bird import Bird
from .exabgp import Exabgp
from .frr import Frr
from .gobgp import Gobgp
from .openbgpd import Openbgpd

__all__ = ["ADMINISTRATIVE_SHUTDOWN", "HOLD_TIMER_EXPIRED", "Bird", "Exabgp", "Frr", "Gobgp", "Openbgpd", "Path", "Router"]
