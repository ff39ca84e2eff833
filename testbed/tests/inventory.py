"""The list that FerroLB is measured by: what MetalLB's end-to-end tests show, case by case, in our own words.

A case has variants, each a run of its own; `case` in `conform.py` says which test shows which of them. `waits` names the
feature that a case needs and that isn't built yet; `never` says why a case can't apply.
"""

from dataclasses import dataclass

IPV4, IPV6, DUAL = "IPv4", "IPv6", "dual"
SINGLE = (IPV4, IPV6)
FAMILIES = (IPV4, IPV6, DUAL)
BFD, RESTART, VRF, UNNUMBERED = "BFD", "graceful restart", "VRF", "unnumbered peers"
NUMBERS = range(1, 132)


@dataclass(frozen=True)
class Row:
    """One case of the list."""

    number: int
    title: str
    variants: tuple[str, ...] = ()
    waits: str | None = None
    never: str | None = None


@dataclass(frozen=True)
class Section:
    """Cases about one thing."""

    title: str
    rows: tuple[Row, ...]


def each(kinds, families):
    """All combinations, named as `case` names them."""
    return tuple(f"{kind}, {family}" for kind in kinds for family in families)


SECTIONS = (
    Section("BGP", (
        Row(1, "A Cluster service is announced by every node and reached", (*FAMILIES, "IPv4 asked for", "dual asked for")),
        Row(2, "With graceful restart, speakers start anew and no request is lost", FAMILIES, waits=RESTART),
        Row(3, "Without graceful restart, the routes of speakers that start anew go and come, and none is kept as stale", FAMILIES),
        Row(4, "A node without network announces nothing, the others go on", (IPV4,)),
        Row(5, "A Local service is announced by exactly the nodes with endpoints, also after there are more", FAMILIES),
        Row(6, "Each speaker has its FRR beside it", SINGLE, never="there is no FRR: BGP is in the speaker itself"),
        Row(7, "Two services share one address on different ports", SINGLE),
        Row(8, "A pool is given as a range or as a prefix", each(("range", "prefix"), FAMILIES)),
        Row(9, "Peers with a `routerID` come up, and show it", SINGLE),
        Row(10, "Peers with `enableGracefulRestart` come up", SINGLE, waits=RESTART),
        Row(11, "A peer sees `localASN` as our AS", SINGLE),
        Row(12, "Sessions with a password from a Secret come up", SINGLE),
        Row(13, "A ServiceBGPStatus names the peers of each node, and follows peers, advertisements and the service", FAMILIES),
        Row(14, "A second pool and service change nothing for the first", SINGLE),
        Row(15, "Peers that are configured one after another, each in place of the one before, come up", SINGLE),
        Row(16, "What an advertisement adds arrives on its pool's services, and on no others", (
            *each(("community and localPref", "large community and localPref", "localPref", "community", "community by alias", "pool selector"),
                  (IPV4,)),
            *each(("community and localPref", "large community and localPref", "localPref", "community", "community by alias"), (IPV6,)),
        )),
        Row(17, "The communities of several advertisements of one route are united", (IPV4,)),
        Row(18, "Communities, `localPref` and aggregation length of an advertisement can be changed", SINGLE),
        Row(19, "Routes of a router never reach a node's kernel, before there is a service nor after", SINGLE),
        Row(20, "Configuration for FRR beyond the API lets routes in", each(("before", "after"), SINGLE),
            never="there is no FRR to configure; FerroLB takes no routes"),
        Row(21, "The log tells whether FRR took its configuration", never="there is no FRR that would be reloaded"),
        Row(22, "Port 179 and the timers of a BFD profile take effect", ("port", "BFD timers"), waits=BFD),
        Row(23, "The time between two attempts to connect is the one given; a session offers its own family only"),
        Row(24, "Changed timers apply from the next session on", (IPV4,)),
        Row(25, "After a reset by the router a session is back within twice `connectTime`", (IPV4,)),
        Row(26, "One service over BGP and layer 2, each switched on and off by its advertisement", SINGLE),
        Row(27, "Peers with the right `dynamicASN` come up", SINGLE),
        Row(28, "Peers with the wrong `dynamicASN` don't", SINGLE),
    )),
    Section("BGP: which peers, nodes and services", (
        Row(29, "An advertisement's `peers` limit who gets its routes; without them all do", (*FAMILIES, "IPv6 of dual")),
        Row(30, "One service, two advertisements for different peers: each sees its own community", (*FAMILIES, "IPv6 of dual")),
        Row(31, "Two services, each with an advertisement for nodes of its own",
            ("2 and 2 nodes, IPv4", "1 and 2 nodes, IPv4", "0 and 2 nodes, IPv4", "1 and 2 nodes, IPv6")),
        Row(32, "One service, two advertisements for different nodes: both sets announce",
            ("2 and 2 nodes, IPv4", "1 and 2 nodes, IPv4", "0 and 2 nodes, IPv4", "1 and 2 nodes, IPv6")),
        Row(33, "A node selector that matches nobody announces nothing, until a node gets the label", SINGLE),
        Row(34, "A node selector that is edited away withdraws its own service only", SINGLE),
        Row(35, "A peer's node selectors say which nodes dial it", ("all", "two nodes", "one node each")),
        Row(36, "Nodes with different AS numbers of their own", (IPV4,)),
        Row(37, "Pool and service selector must both match", SINGLE),
        Row(38, "Of several service selectors one is enough", SINGLE),
        Row(39, "Editing the service selectors moves the announcement", SINGLE),
        Row(40, "Editing a service's labels moves the announcement", SINGLE),
        Row(41, "A selector for host routes beside an aggregate for all", SINGLE),
        Row(42, "Overlapping advertisements: the selected service has all communities, the other only the common one", SINGLE),
        Row(43, "Disjoint advertisements: each service has its own communities", SINGLE),
    )),
    Section("BFD, both families over one session, unnumbered, VRF", (
        Row(44, "BFD comes up with every node, with the parameters given, and stays up when services come",
            (*each(("default", "full"), SINGLE), "echo, IPv4", "full, dual"), waits=BFD),
        Row(45, "Both families of a service over one session", ("over IPv4", "over IPv6", "only IPv6 over both", "only IPv4 over both")),
        Row(46, "`localPref` and communities are on the routes of both families", ("over IPv4", "over IPv6")),
        Row(47, "An unnumbered peer on a link of two", each(("with BFD", "without BFD"), FAMILIES), waits=UNNUMBERED),
        Row(48, "All of the above towards routers in a VRF", waits=VRF),
    )),
    Section("Metrics", (
        Row(49, "Messages are counted for each peer", SINGLE),
        Row(50, "Sessions, routes, pools and announcements are counted, before, with and after a service", SINGLE),
        Row(51, "BFD is counted, and its end too", ("default, IPv4", "echo, IPv4", "default, IPv6", "full, dual"), waits=BFD),
        Row(52, "A missing BFD profile makes the configuration stale, and its coming mends it"),
        Row(53, "Layer 2 is counted where it answers, and only there", SINGLE),
    )),
    Section("Layer 2", (
        Row(54, "A Cluster service is reached", FAMILIES),
        Row(55, "A ServiceL2Status names the node of the event, stays, and goes with the service"),
        Row(56, "A Local service is answered for by a node with an endpoint, and served there"),
        Row(57, "A service with TCP and UDP", (IPV4,)),
        Row(58, "A node without network hands its addresses over, and has them back afterwards"),
        Row(59, "So does a node with the exclude label"),
        Row(60, "A pool is given as a range or as a prefix", ("range", "prefix")),
        Row(61, "Services that share an address are answered for by one node", SINGLE),
        Row(62, "A pool is asked for by annotation", each(("autoAssign", "no autoAssign"), SINGLE)),
        Row(63, "A node selector pins the address to each node in turn"),
        Row(64, "Several advertisements with node selectors for one service"),
        Row(65, "A node selector that matches nobody: silence, until a node gets the label"),
        Row(66, "Pool and service selector must both match, and follow the labels"),
        Row(67, "Two advertisements for different nodes: exactly one of them answers"),
        Row(68, "No advertisement matches both service and node: nobody answers"),
        Row(69, "Of several selectors one is enough"),
        Row(70, "An interface selector shows in the ServiceL2Status"),
        Row(71, "The MAC is that of the selected interface"),
        Row(72, "An edited list of interfaces moves the answer"),
        Row(73, "An interface that isn't there: silence, and an event"),
        Row(74, "Two advertisements of one pool: all their interfaces answer"),
        Row(75, "Interfaces and node selectors together"),
        Row(76, "A preferred node answers, and others where its label goes"),
        Row(77, "Where no preference matches, or all do, the election is as without"),
        Row(78, "A preferred node that is excluded hands over, and takes back"),
        Row(79, "A preference that is edited elects anew"),
        Row(80, "Node selectors bind, preferences don't"),
        Row(81, "A preference for nodes that can't: those that can answer"),
        Row(82, "Weights add up over advertisements"),
        Row(83, "Preferences are for the selected services"),
        Row(84, "A speaker that goes hands its addresses over, and takes them back"),
        Row(85, "A service of another load balancer's class gets no address"),
    )),
    Section("Who gets which address", (
        Row(86, "A freed address goes to a service that waits", ("changed type", "deleted")),
        Row(87, "Addresses outlive the controller"),
        Row(88, "Sharing is judged anew when a traffic policy or a selector changes"),
        Row(89, "Without pools there are no addresses"),
        Row(90, "A deleted pool's services get addresses of another one"),
        Row(91, "A pool for a namespace"),
        Row(92, "Pools by priority alone"),
        Row(93, "A pool for a namespace by name and by label"),
        Row(94, "A pool for services by label"),
        Row(95, "A pool for a namespace and its services by label"),
        Row(96, "A namespace's labels change"),
        Row(97, "PreferDualStack takes a pool of both families"),
        Row(98, "PreferDualStack takes IPv4 where it comes first"),
        Row(99, "PreferDualStack takes IPv6 where it comes first"),
        Row(100, "The second address comes when the pool gets its family"),
        Row(101, "From preferring to requiring two families and back"),
        Row(102, "A new pool of both families moves nobody"),
        Row(103, "Another pool is taken where the pool loses a family"),
        Row(104, "A pool's status counts", (DUAL,)),
    )),
    Section("Admission", (
        Row(105, "Overlapping pools are refused"),
        Row(106, "An aggregation length that can't be is refused"),
        Row(107, "Service selectors with other aggregation lengths are refused"),
        Row(108, "A peer's address that is none is refused"),
        Row(109, "Two peers of one address on one node are refused"),
        Row(110, "Two peers of one address on different nodes are taken"),
        Row(111, "A community that is none is refused", ("legacy", "large")),
        Row(112, "So is a change to one", ("legacy", "large")),
        Row(113, "One alias twice is refused", each(("in one object", "in two objects"), ("legacy", "large"))),
        Row(114, "A BFD profile in use can't be deleted"),
        *(Row(115 + number, f"{kind} outside the namespace is refused") for number, kind in enumerate((
            "BFDProfile", "IPAddressPool", "BGPPeer", "BGPAdvertisement", "L2Advertisement", "Community"))),
    )),
    Section("ConfigurationState", (
        Row(121, "A Secret of the wrong type makes the nodes of its peer invalid, and no others; it is mended"),
        Row(122, "A missing BFD profile is invalid, and valid when it comes"),
        Row(123, "A reference that breaks later makes speakers invalid, not the controller"),
        Row(124, "A missing community alias is valid when it comes"),
        Row(125, "Of two errors each is told, until it is mended"),
        Row(126, "A valid configuration is valid everywhere"),
        Row(127, "A node's label brings two peers of one address together"),
        Row(128, "What was said stands after all objects are deleted"),
        Row(129, "Each node has its own result"),
        Row(130, "A state that is deleted is written again"),
    )),
    Section("Network policy", (
        Row(131, "The controller takes metrics and webhook connections, and dials the API server, nothing else"),
    )),
)
ROWS = {row.number: row for section in SECTIONS for row in section.rows}
