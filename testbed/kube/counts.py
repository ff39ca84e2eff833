"""What the API server counts of its own work."""

import re
from collections import Counter

WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE"}
REQUEST = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


def writes(page):
    """How many writes it has answered since it was started, by what: `PATCH services/status`; renewed Leases and what failed left out.

    `page` is its metrics.
    """
    found = Counter()
    for labels, value in REQUEST.findall(page):
        of = dict(LABEL.findall(labels))
        if of["verb"] in WRITES and of["code"].startswith("2") and of["resource"] != "leases":
            found[f"{of['verb']} {of['resource']}{'/' + of['subresource'] if of['subresource'] else ''}"] += int(float(value))
    return found
