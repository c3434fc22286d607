// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The fast path of the GTP-U user plane: G-PDUs without optional header part, and plain IP packets from a link, for rules that user
 * space has compiled into the maps below. Whatever is rare, odd or unknown goes on to the kernel, and so to the socket back end, which
 * has the same rules: echo, error indication, extension headers, fragments, unknown TEIDs, broken packets, neighbours not yet resolved,
 * packets from one UE to another.
 *
 * The structures are mirrored in layout.py. There are four programs, for two places (a device with a GTP-U address; a link that carries
 * plain IP) and two kinds of hook (XDP; tc), and one for a self-test. Outer headers and users' packets are IPv4 or IPv6, in any mixture.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define GTPU_PORT 2152
#define G_PDU 0x30ff            /* version 1, GTP, no optional part; message type 255 */
#define MAX_FILTERS 64          /* of one TEID or UE address */
#define METERS 4                /* of one rule */
#define MEASUREMENTS 6
#define NONE 0                  /* index 0 of every array is not used */
#define MAX_SUMMED 2048         /* octets of a UDP datagram whose checksum is computed here (IPv6 wants one) */

#define IP_DF 0x4000
#define IP_FRAGMENT 0x3fff      /* more fragments, or an offset */

struct gtp { __be16 kind, length; __be32 teid; };

struct tunnel { struct udphdr udp; struct gtp gtp; };
struct outer_ipv4 { struct iphdr ip; struct tunnel tunnel; };
struct outer_ipv6 { struct ipv6hdr ip; struct tunnel tunnel; };

/* What becomes of a packet. */
enum action { TO_USER_SPACE, DISCARD, TO_TUNNEL, TO_LINK, HOLD };

/* Why it was dropped: the order of layout.DROP_REASONS. */
enum reason { SPOOFED_SOURCE, NO_MATCHING_RULE, GATE_CLOSED, FAR_DROP, BUFFER_FULL, RATE_EXCEEDED, QUOTA_EXHAUSTED, REASONS };

enum flags {
    UPLINK = 1,
    CHECK_IP = 2,               /* has to be one whole IP packet */
    CHECK_IPV4 = 4,             /* and from (uplink) or to (downlink) this address, if IPv4; if there is none, IPv4 is wrong */
    CHECK_IPV6 = 8,             /* likewise with the prefix */
    HAS_IPV4 = 16,
    HAS_IPV6 = 32,
};

struct rule {
    __u8 action, reason;
    __u16 flags;
    __u32 counter;
    __u32 next_hop;
    __be32 teid;
    __be32 ue_ipv4;
    __u32 credit;
    __u64 ue_ipv6_prefix;
    __u32 meters[METERS];           /* those in use come first */
    __u32 measurements[MEASUREMENTS];
};

/* Where packets come in. ``rule`` takes those that no filter does. */
struct entry { __u32 first_filter, filters; struct rule rule; };

/*
 * A filter and a flow are compared without a branch a field: 64 filters times as many branches would keep the verifier busy for long.
 * ``kind`` is the IP version, the protocol << 8, and 1 << 16 if there are ports.
 */
struct filter {
    __u64 network[2], mask[2];
    __u32 kind, kind_mask;
    __u16 remote_ports[2], local_ports[2];
    __u32 rule, spare;
};

#define HAS_PORTS (1 << 16)

/* Our GTP-U addresses; one node has at most two. IPv4 takes the first word. */
struct address { __u32 version; __be32 words[4]; };
struct ports { struct address address[2]; };

struct tunnel_key { __be32 teid; __u32 port; };
struct ipv4_key { __u32 ifindex; __be32 address; };
struct ipv6_key { __u64 ifindex, prefix; };

struct next_hop { __u32 ifindex, mtu, version, spare; __be32 source[4], destination[4]; __u8 destination_mac[6], source_mac[6]; __u32 spare2; };

struct count { __u64 packets, octets; };

/* A token bucket as virtual scheduling (ITU-T I.371): the time until which the packets so far have used the rate up. */
struct meter { __u64 q20_ns_per_octet, burst_ns, busy_until_ns, spare; };

/* What a URR measures. The flags ``tell_...`` ask for one event, and are taken back with it. */
struct measurement {
    __s64 quota_left, threshold_left;       /* octets */
    __u64 last_packet_ns;
    __u32 flags, tell_use, tell_refusal, spare;
};

enum measurement_flags { QUOTA = 1, THRESHOLD = 2, TIME = 4 };

struct event { __u32 kind, index; };

enum event_kind { QUOTA_USED_UP = 1, THRESHOLD_REACHED, USE_BEGAN, REFUSED };

/* Read by the loader from section "maps"; sizes of 0 are filled in there. */
struct map_definition { __u32 type, key_octets, value_octets, entries, flags; };
#define MAP(name, kind, key, value, count, how) \
    struct map_definition name SEC("maps") = { BPF_MAP_TYPE_##kind, key, value, count, how }

MAP(ports, ARRAY, 4, sizeof(struct ports), 1, 0);
MAP(tunnels, HASH, sizeof(struct tunnel_key), sizeof(struct entry), 0, BPF_F_NO_PREALLOC);
MAP(ues_ipv4, HASH, sizeof(struct ipv4_key), sizeof(struct entry), 0, BPF_F_NO_PREALLOC);
MAP(ues_ipv6, HASH, sizeof(struct ipv6_key), sizeof(struct entry), 0, BPF_F_NO_PREALLOC);
MAP(filters, ARRAY, 4, sizeof(struct filter), 0, 0);
MAP(rules, HASH, 4, sizeof(struct rule), 0, BPF_F_NO_PREALLOC);
MAP(next_hops, HASH, 4, sizeof(struct next_hop), 4096, BPF_F_NO_PREALLOC);
MAP(counters, PERCPU_ARRAY, 4, sizeof(struct count), 0, 0);
MAP(totals, PERCPU_ARRAY, 4, sizeof(struct count), 2, 0);       /* downlink, uplink */
MAP(drops, PERCPU_ARRAY, 4, 8, REASONS, 0);
MAP(meters, ARRAY, 4, sizeof(struct meter), 0, BPF_F_MMAPABLE);
MAP(measurements, ARRAY, 4, sizeof(struct measurement), 0, BPF_F_MMAPABLE);
MAP(credits, ARRAY, 4, 8, 0, BPF_F_MMAPABLE);   /* packets that user space still wants to see */
MAP(events, RINGBUF, 0, 0, 1 << 16, 0);

#define INLINE static __always_inline

INLINE int drop(__u32 reason)
{
    __u64 *count = bpf_map_lookup_elem(&drops, &reason);
    if (count)
        (*count)++;
    return DISCARD;
}

/* How the users' packet looks as an IP packet; ``octets`` is what there has to be. */
INLINE int is_ip(void *packet, void *end, __u32 octets)
{
    struct iphdr *ip = packet;
    struct ipv6hdr *ip6 = packet;

    if ((void *)(ip + 1) > end)
        return 0;
    if (ip->version == 4)
        return octets >= sizeof(*ip) && bpf_ntohs(ip->tot_len) == octets && ip->ihl >= 5 && ip->ihl * 4 <= octets;
    if (ip->version != 6 || (void *)(ip6 + 1) > end)
        return 0;
    return bpf_ntohs(ip6->payload_len) + sizeof(*ip6) == octets;
}

/* The one address of the packet that ought to be the UE's. The packet passed is_ip(). */
INLINE int is_the_ues(void *packet, void *end, struct rule *rule)
{
    struct iphdr *ip = packet;
    struct ipv6hdr *ip6 = packet;
    __u16 flags = rule->flags;

    if ((void *)(ip + 1) > end)
        return 0;
    if (ip->version == 4) {
        if (!(flags & CHECK_IPV4))
            return 1;
        return (flags & HAS_IPV4) && (flags & UPLINK ? ip->saddr : ip->daddr) == rule->ue_ipv4;
    }
    if (!(flags & CHECK_IPV6))
        return 1;
    if ((void *)(ip6 + 1) > end || !(flags & HAS_IPV6))
        return 0;
    /* Addresses lie at odd multiples of 4 from the packet's start. */
    __u32 *prefix = (__u32 *)(flags & UPLINK ? &ip6->saddr : &ip6->daddr);
    return ((__u64)prefix[1] << 32 | prefix[0]) == rule->ue_ipv6_prefix;
}

struct flow { __u64 remote[2]; __u32 kind, spare; __s64 remote_port, local_port; };

/* Returns 0 for packets whose flow takes more to find out: options, extension headers. */
INLINE int read_flow(void *packet, void *end, int uplink, struct flow *flow)
{
    struct iphdr *ip = packet;
    struct ipv6hdr *ip6 = packet;
    __be16 *transport;
    __u32 protocol, has_ports = 1;

    if ((void *)(ip + 1) > end)
        return 0;
    if (ip->version == 4) {
        if (ip->ihl != 5)
            return 0;
        protocol = ip->protocol;
        flow->remote[0] = uplink ? ip->daddr : ip->saddr;
        has_ports = !(ip->frag_off & bpf_htons(0x1fff));
        transport = (void *)(ip + 1);
    } else {
        if (ip->version != 6 || (void *)(ip6 + 1) > end)
            return 0;
        protocol = ip6->nexthdr;
        if (protocol == 0 || protocol == 43 || protocol == 44 || protocol == 60)
            return 0;
        __builtin_memcpy(flow->remote, uplink ? &ip6->daddr : &ip6->saddr, 16);
        transport = (void *)(ip6 + 1);
    }
    flow->kind = ip->version | protocol << 8;
    if (protocol != IPPROTO_UDP && protocol != IPPROTO_TCP && protocol != IPPROTO_SCTP)
        has_ports = 0;
    if (has_ports && (void *)(transport + 2) <= end) {
        flow->kind |= HAS_PORTS;
        flow->remote_port = bpf_ntohs(uplink ? transport[1] : transport[0]);
        flow->local_port = bpf_ntohs(uplink ? transport[0] : transport[1]);
    }
    return 1;
}

INLINE int matches(struct filter *filter, struct flow *flow)
{
    __u64 wrong = ((flow->remote[0] & filter->mask[0]) ^ filter->network[0]) | ((flow->remote[1] & filter->mask[1]) ^ filter->network[1]);

    wrong |= (flow->kind & filter->kind_mask) ^ filter->kind;
    /* A port outside of a range makes one of these negative. */
    wrong |= (__u64)((flow->remote_port - filter->remote_ports[0]) | (filter->remote_ports[1] - flow->remote_port)
                     | (flow->local_port - filter->local_ports[0]) | (filter->local_ports[1] - flow->local_port)) >> 63;
    return !wrong;
}

/* Returns the rule's index, or NONE when no filter takes the packet. */
INLINE __u32 select_rule(__u32 first, __u32 count, struct flow *flow)
{
    for (__u32 i = 0; i < MAX_FILTERS; i++) {
        __u32 index = first + i;
        if (i >= count)
            break;
        struct filter *filter = bpf_map_lookup_elem(&filters, &index);
        if (!filter)
            break;
        if (matches(filter, flow))
            return filter->rule;
    }
    return NONE;
}

/* 1: the packet is within the rate. */
INLINE int conforms(__u32 index, __u32 octets)
{
    struct meter *meter = bpf_map_lookup_elem(&meters, &index);
    if (!meter)
        return 1;
    __u64 now = bpf_ktime_get_ns(), cost = octets * meter->q20_ns_per_octet >> 20;
    for (int attempt = 0; attempt < 8; attempt++) {
        __u64 before = *(volatile __u64 *)&meter->busy_until_ns;
        __u64 after = (before > now ? before : now) + cost;
        if (after > now + meter->burst_ns)
            return 0;
        if (__sync_val_compare_and_swap(&meter->busy_until_ns, before, after) == before)
            return 1;
    }
    return 0;
}

INLINE void tell(__u32 kind, __u32 index)
{
    struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

    if (event) {
        event->kind = kind;
        event->index = index;
        bpf_ringbuf_submit(event, 0);
    }
}

/* 1: something of the quota is left. */
INLINE int is_within_quota(__u32 index)
{
    struct measurement *measurement = bpf_map_lookup_elem(&measurements, &index);

    if (!measurement || !(measurement->flags & QUOTA) || *(volatile __s64 *)&measurement->quota_left > 0)
        return 1;
    if (measurement->tell_refusal && __sync_lock_test_and_set(&measurement->tell_refusal, 0))
        tell(REFUSED, index);
    return 0;
}

/* The packet that uses a quota up still goes, and tells. */
INLINE void measure(__u32 index, __u32 octets)
{
    struct measurement *measurement = bpf_map_lookup_elem(&measurements, &index);

    if (!measurement)
        return;
    if (measurement->flags & TIME) {
        measurement->last_packet_ns = bpf_ktime_get_ns();
        if (measurement->tell_use && __sync_lock_test_and_set(&measurement->tell_use, 0))
            tell(USE_BEGAN, index);
    }
    if (measurement->flags & THRESHOLD) {
        __s64 before = __sync_fetch_and_add(&measurement->threshold_left, -(__s64)octets);
        if (before > 0 && before <= octets)
            tell(THRESHOLD_REACHED, index);
    }
    if (measurement->flags & QUOTA) {
        __s64 before = __sync_fetch_and_add(&measurement->quota_left, -(__s64)octets);
        if (before > 0 && before <= octets)
            tell(QUOTA_USED_UP, index);
    }
}

INLINE void count(struct rule *rule, __u32 octets)
{
    __u32 direction = rule->flags & UPLINK, index = rule->counter;
    struct count *counter = bpf_map_lookup_elem(&counters, &index), *total = bpf_map_lookup_elem(&totals, &direction);

    if (counter) {
        counter->packets++;
        counter->octets += octets;
    }
    if (total) {
        total->packets++;
        total->octets += octets;
    }
}

INLINE __u32 headers_of(struct next_hop *next_hop)
{
    return next_hop->version == 6 ? sizeof(struct outer_ipv6) : next_hop->version == 4 ? sizeof(struct outer_ipv4) : 0;
}

/* Whether the packet that would go out to a link is for a UE that is served on this very link. The packet passed is_ip(). */
INLINE int is_for_another_ue(void *packet, void *end, __u32 ifindex)
{
    struct iphdr *ip = packet;
    struct ipv6hdr *ip6 = packet;

    if ((void *)(ip + 1) > end)
        return 1;
    if (ip->version == 4) {
        struct ipv4_key key = { .ifindex = ifindex, .address = ip->daddr };
        return !!bpf_map_lookup_elem(&ues_ipv4, &key);
    }
    if ((void *)(ip6 + 1) > end)
        return 1;
    __u32 *address = (__u32 *)&ip6->daddr;
    struct ipv6_key key = { .ifindex = ifindex, .prefix = (__u64)address[1] << 32 | address[0] };
    return !!bpf_map_lookup_elem(&ues_ipv6, &key);
}

/* A user's packet on its way. */
struct passage {
    struct rule *rule;
    struct next_hop *next_hop;
    __u32 frame_octets;         /* all of it, also what lies beyond data_end */
    __u32 octets;               /* of the user's packet */
    __u32 headers;              /* octets before it, behind Ethernet: 0 on a link */
    __u32 traffic_class;
};

/* Everything but moving octets: which rule takes the user's packet, and whether it lets it go. */
INLINE int decide(struct entry *entry, void *packet, void *end, struct passage *passage)
{
    struct rule *rule = &entry->rule;
    __u32 octets = passage->octets;

    if (entry->filters) {
        struct flow flow = {};
        if (!is_ip(packet, end, octets) || !read_flow(packet, end, rule->flags & UPLINK, &flow))
            return TO_USER_SPACE;
        __u32 index = select_rule(entry->first_filter, entry->filters, &flow);
        if (index != NONE) {
            rule = bpf_map_lookup_elem(&rules, &index);
            if (!rule)
                return TO_USER_SPACE;
        }
    }
    if (rule->action == DISCARD && rule->reason == NO_MATCHING_RULE)
        return drop(NO_MATCHING_RULE);
    if (rule->flags & CHECK_IP) {
        if (!is_ip(packet, end, octets))
            return TO_USER_SPACE;
        if (!is_the_ues(packet, end, rule))
            return drop(rule->flags & UPLINK ? SPOOFED_SOURCE : NO_MATCHING_RULE);
    }
    if (rule->action == DISCARD)
        return drop(rule->reason);
    if (rule->action == HOLD) {
        __u32 index = rule->credit;
        __s64 *credit = bpf_map_lookup_elem(&credits, &index);
        if (credit && (*(volatile __s64 *)credit <= 0 || __sync_fetch_and_add(credit, -1) <= 0))
            return drop(BUFFER_FULL);
        return TO_USER_SPACE;
    }
    if (rule->action != TO_TUNNEL && rule->action != TO_LINK)
        return TO_USER_SPACE;
    __u32 id = rule->next_hop;
    struct next_hop *next_hop = bpf_map_lookup_elem(&next_hops, &id);
    if (!next_hop || octets + headers_of(next_hop) > next_hop->mtu)
        return TO_USER_SPACE;
    if (next_hop->version == 6 && octets + sizeof(struct tunnel) > MAX_SUMMED)
        return TO_USER_SPACE;
    if (rule->action == TO_LINK && is_for_another_ue(packet, end, next_hop->ifindex))
        return TO_USER_SPACE;
#pragma unroll
    for (int i = 0; i < MEASUREMENTS; i++) {
        if (rule->measurements[i] == NONE)
            break;
        if (!is_within_quota(rule->measurements[i]))
            return drop(QUOTA_EXHAUSTED);
    }
#pragma unroll
    for (int i = 0; i < METERS; i++) {
        if (rule->meters[i] == NONE)
            break;
        if (!conforms(rule->meters[i], octets))
            return drop(RATE_EXCEEDED);
    }
#pragma unroll
    for (int i = 0; i < MEASUREMENTS; i++) {
        if (rule->measurements[i] == NONE)
            break;
        measure(rule->measurements[i], octets);
    }
    count(rule, octets);
    passage->rule = rule;
    passage->next_hop = next_hop;
    return rule->action;
}

/* The side that an address of ours is on; 2: it is not ours. */
INLINE __u32 side_of(__u32 version, __be32 *words)
{
    __u32 only = 0;
    struct ports *ours = bpf_map_lookup_elem(&ports, &only);

    if (!ours)
        return 2;
#pragma unroll
    for (__u32 side = 0; side < 2; side++) {
        struct address *address = &ours->address[side];
        if (address->version != version || address->words[0] != words[0])
            continue;
        if (version == 4 || (address->words[1] == words[1] && address->words[2] == words[2] && address->words[3] == words[3]))
            return side;
    }
    return 2;
}

/* Finds the rules for a frame from a device with a GTP-U address. */
INLINE int decide_gtpu(void *data, void *end, struct passage *passage)
{
    struct ethhdr *ethernet = data;
    struct tunnel *tunnel;
    __u32 side, udp_octets;

    if ((void *)(ethernet + 1) > end)
        return TO_USER_SPACE;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
        struct outer_ipv4 *outer = (void *)(ethernet + 1);
        if ((void *)(outer + 1) > end)
            return TO_USER_SPACE;
        if (*(__u8 *)&outer->ip != 0x45 || outer->ip.protocol != IPPROTO_UDP || outer->ip.frag_off & bpf_htons(IP_FRAGMENT))
            return TO_USER_SPACE;
        udp_octets = bpf_ntohs(outer->ip.tot_len) - sizeof(outer->ip);
        tunnel = &outer->tunnel;
        if (tunnel->udp.dest != bpf_htons(GTPU_PORT))
            return TO_USER_SPACE;
        side = side_of(4, &outer->ip.daddr);
        passage->headers = sizeof(*outer);
        passage->traffic_class = outer->ip.tos;
    } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
        struct outer_ipv6 *outer = (void *)(ethernet + 1);
        if ((void *)(outer + 1) > end)
            return TO_USER_SPACE;
        if (outer->ip.version != 6 || outer->ip.nexthdr != IPPROTO_UDP)
            return TO_USER_SPACE;
        udp_octets = bpf_ntohs(outer->ip.payload_len);
        tunnel = &outer->tunnel;
        if (tunnel->udp.dest != bpf_htons(GTPU_PORT))
            return TO_USER_SPACE;
        side = side_of(6, (__be32 *)&outer->ip.daddr);
        passage->headers = sizeof(*outer);
        passage->traffic_class = bpf_ntohs(*(__be16 *)&outer->ip) >> 4 & 0xff;
    } else {
        return TO_USER_SPACE;
    }
    __u32 length = bpf_ntohs(tunnel->gtp.length);
    if (side > 1 || tunnel->gtp.kind != bpf_htons(G_PDU) || !length)
        return TO_USER_SPACE;
    if (udp_octets != length + sizeof(*tunnel) || bpf_ntohs(tunnel->udp.len) != udp_octets)
        return TO_USER_SPACE;
    if (sizeof(*ethernet) + passage->headers + length > passage->frame_octets)
        return TO_USER_SPACE;
    struct tunnel_key key = { .teid = tunnel->gtp.teid, .port = side };
    struct entry *entry = bpf_map_lookup_elem(&tunnels, &key);
    if (!entry)
        return TO_USER_SPACE;
    passage->octets = length;
    return decide(entry, tunnel + 1, end, passage);
}

/* Likewise from a device that carries plain IP. */
INLINE int decide_link(void *data, void *end, __u32 ifindex, struct passage *passage)
{
    struct ethhdr *ethernet = data;
    struct iphdr *ip = (void *)(ethernet + 1);
    struct ipv6hdr *ip6 = (void *)(ethernet + 1);
    struct entry *entry;

    if ((void *)(ip + 1) > end)
        return TO_USER_SPACE;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
        struct ipv4_key key = { .ifindex = ifindex, .address = ip->daddr };
        passage->octets = bpf_ntohs(ip->tot_len);
        entry = bpf_map_lookup_elem(&ues_ipv4, &key);
    } else {
        if (ethernet->h_proto != bpf_htons(ETH_P_IPV6) || (void *)(ip6 + 1) > end)
            return TO_USER_SPACE;
        struct ipv6_key key = { .ifindex = ifindex };
        __u32 *address = (__u32 *)&ip6->daddr;
        key.prefix = (__u64)address[1] << 32 | address[0];
        passage->octets = bpf_ntohs(ip6->payload_len) + sizeof(*ip6);
        entry = bpf_map_lookup_elem(&ues_ipv6, &key);
    }
    if (!entry || sizeof(*ethernet) + passage->octets > passage->frame_octets || !is_ip(ip, end, passage->octets))
        return TO_USER_SPACE;
    int action = decide(entry, ip, end, passage);
    return action == TO_LINK ? TO_USER_SPACE : action;
}

INLINE __u16 folded(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

INLINE void write_tunnel(struct tunnel *tunnel, struct passage *passage)
{
    tunnel->udp.source = tunnel->udp.dest = bpf_htons(GTPU_PORT);
    tunnel->udp.len = bpf_htons(passage->octets + sizeof(*tunnel));
    tunnel->udp.check = 0;      /* RFC 768: none; the users' packets have their own */
    tunnel->gtp.kind = bpf_htons(G_PDU);
    tunnel->gtp.length = bpf_htons(passage->octets);
    tunnel->gtp.teid = passage->rule->teid;
}

INLINE void write_outer_ipv4(struct outer_ipv4 *outer, struct passage *passage)
{
    __u16 *words = (__u16 *)&outer->ip;
    __u32 sum = 0;

    *(__u8 *)&outer->ip = 0x45;
    outer->ip.tos = passage->traffic_class;
    outer->ip.tot_len = bpf_htons(passage->octets + sizeof(*outer));
    outer->ip.id = 0;
    outer->ip.frag_off = bpf_htons(IP_DF);
    outer->ip.ttl = 64;
    outer->ip.protocol = IPPROTO_UDP;
    outer->ip.check = 0;
    outer->ip.saddr = passage->next_hop->source[0];
    outer->ip.daddr = passage->next_hop->destination[0];
#pragma unroll
    for (int i = 0; i < 10; i++)
        sum += words[i];
    outer->ip.check = folded(sum);
    write_tunnel(&outer->tunnel, passage);
}

/* The compiler must not turn a comparison with the packet's end round: the verifier knows only one form. */
#define KEEP(pointer) asm volatile("" : "+r"(pointer))

/* With IPv6 a UDP checksum is not optional (RFC 8200 clause 8.1). Returns 0 if it cannot be computed. */
INLINE int write_outer_ipv6(struct outer_ipv6 *outer, void *end, struct passage *passage)
{
    __u32 octets = passage->octets + sizeof(outer->tunnel), left = octets;
    __be16 *at = (void *)&outer->tunnel;
    __s64 sum;

    *(__be32 *)&outer->ip = bpf_htonl(6 << 28 | (passage->traffic_class & 0xff) << 20);
    outer->ip.payload_len = bpf_htons(octets);
    outer->ip.nexthdr = IPPROTO_UDP;
    outer->ip.hop_limit = 64;
    __builtin_memcpy(&outer->ip.saddr, passage->next_hop->source, 16);
    __builtin_memcpy(&outer->ip.daddr, passage->next_hop->destination, 16);
    write_tunnel(&outer->tunnel, passage);
    sum = bpf_csum_diff(0, 0, (__be32 *)&outer->ip.saddr, 32, bpf_htons(octets) + bpf_htons(IPPROTO_UDP));
    asm volatile("%0 &= 0xffff" : "+r"(left));      /* the verifier had better not know that this was the same number: */
    for (int i = 0; i < MAX_SUMMED / 64; i++) {
        if (left < 64)
            break;
        KEEP(at);
        if ((void *)(at + 32) > end)
            return 0;
        sum = bpf_csum_diff(0, 0, (__be32 *)at, 64, sum);
        at += 32;
        left -= 64;
    }
    /* however often that was, from here on it is all the same to it. */
    at = (void *)&outer->tunnel + (octets & (MAX_SUMMED - 64));
    left = octets & 63;
    __u64 rest = (__u32)sum;
    for (int i = 0; i < 31; i++) {
        if (left < 2)
            break;
        KEEP(at);
        if ((void *)(at + 1) > end)
            return 0;
        rest += *at++;
        left -= 2;
    }
    if (left & 1) {
        KEEP(at);
        if ((void *)at + 1 > end)
            return 0;
        rest += *(__u8 *)at;        /* as if a zero followed: little-endian */
    }
    __u16 check = folded(rest);
    outer->tunnel.udp.check = check ? check : 0xffff;
    return 1;
}

/* Writes the headers for a frame that has room for them already. Returns 0 if it has not. */
INLINE int write_headers(void *data, void *end, struct passage *passage)
{
    struct ethhdr *ethernet = data;
    void *behind = ethernet + 1;
    __u32 version = passage->next_hop->version;

    if (behind + 1 > end)
        return 0;
    __builtin_memcpy(ethernet->h_dest, passage->next_hop->destination_mac, 6);
    __builtin_memcpy(ethernet->h_source, passage->next_hop->source_mac, 6);
    if (version == 4) {
        if (behind + sizeof(struct outer_ipv4) > end)
            return 0;
        ethernet->h_proto = bpf_htons(ETH_P_IP);
        write_outer_ipv4(behind, passage);
        return 1;
    }
    if (version == 6) {
        if (behind + sizeof(struct outer_ipv6) > end)
            return 0;
        ethernet->h_proto = bpf_htons(ETH_P_IPV6);
        return write_outer_ipv6(behind, end, passage);
    }
    ethernet->h_proto = *(__u8 *)behind >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    return 1;
}

#define DATA(context) ((void *)(long)(context)->data)
#define END(context) ((void *)(long)(context)->data_end)

/* XDP */

INLINE int xdp_forward(struct xdp_md *context, int action, struct passage *passage)
{
    if (action == DISCARD)
        return XDP_DROP;
    if (action == TO_USER_SPACE || !passage->rule || !passage->next_hop)
        return XDP_PASS;
    /* Cut off what Ethernet padded, then make room for other headers, or take room away. */
    long surplus = (long)END(context) - (long)DATA(context) - sizeof(struct ethhdr) - passage->headers - passage->octets;
    if (surplus > 0 && bpf_xdp_adjust_tail(context, -(int)surplus))
        return XDP_DROP;
    int less = (int)passage->headers - (int)headers_of(passage->next_hop);
    if (less && bpf_xdp_adjust_head(context, less))
        return XDP_DROP;
    if (!write_headers(DATA(context), END(context), passage))
        return XDP_DROP;
    return bpf_redirect(passage->next_hop->ifindex, 0);
}

SEC("xdp") int xdp_gtpu(struct xdp_md *context)
{
    struct passage passage = { .frame_octets = (long)END(context) - (long)DATA(context) };

    return xdp_forward(context, decide_gtpu(DATA(context), END(context), &passage), &passage);
}

SEC("xdp") int xdp_link(struct xdp_md *context)
{
    struct passage passage = { .frame_octets = (long)END(context) - (long)DATA(context) };

    return xdp_forward(context, decide_link(DATA(context), END(context), context->ingress_ifindex, &passage), &passage);
}

/* For the self-test of native XDP: the frame says behind its Ethernet header to which device it goes. */
SEC("xdp") int xdp_probe(struct xdp_md *context)
{
    __u32 *ifindex = DATA(context) + sizeof(struct ethhdr);

    return (void *)(ifindex + 1) > END(context) ? XDP_DROP : bpf_redirect(*ifindex, 0);
}

/* tc */

/* BPF_F_ADJ_ROOM_DECAP_L3_..., which older headers lack. Without, what is left has to be as long as the former header. */
#define DECAP_L3_IPV4 (1ULL << 7)
#define DECAP_L3_IPV6 (1ULL << 8)

/* ``wanted`` octets as one piece, which what comes from a NIC need not be. */
INLINE void tc_pull(struct __sk_buff *context, __u32 wanted)
{
    if (DATA(context) + wanted > END(context))
        bpf_skb_pull_data(context, context->len < wanted ? context->len : wanted);
}

/* A super-packet of several goes to user space. */
INLINE int tc_is_readable(struct __sk_buff *context)
{
    if (context->gso_segs > 1)
        return 0;
    tc_pull(context, sizeof(struct ethhdr) + sizeof(struct outer_ipv6) + sizeof(struct ipv6hdr) + 4);
    return 1;
}

INLINE int tc_forward(struct __sk_buff *context, int action, struct passage *passage)
{
    if (action == DISCARD)
        return TC_ACT_SHOT;
    if (action == TO_USER_SPACE || !passage->rule || !passage->next_hop)
        return TC_ACT_UNSPEC;
    __u32 whole = sizeof(struct ethhdr) + passage->headers + passage->octets, version = passage->next_hop->version;
    if (context->len > whole && bpf_skb_change_tail(context, whole, 0))
        return TC_ACT_SHOT;
    int more = (int)headers_of(passage->next_hop) - (int)passage->headers;
    if (more) {
        __u64 how = BPF_F_ADJ_ROOM_FIXED_GSO;
        if (more < 0) {
            __u8 *inner = DATA(context) + sizeof(struct ethhdr) + passage->headers;
            if ((void *)(inner + 1) > END(context))
                return TC_ACT_SHOT;
            how |= version == 4 || (version == 0 && *inner >> 4 == 4) ? DECAP_L3_IPV4 : DECAP_L3_IPV6;
        }
        if (!passage->headers)
            how |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP | (version == 6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
        if (bpf_skb_adjust_room(context, more, BPF_ADJ_ROOM_MAC, how))
            return TC_ACT_SHOT;
    }
    if (version == 6)
        tc_pull(context, context->len);     /* for its checksum */
    if (!write_headers(DATA(context), END(context), passage))
        return TC_ACT_SHOT;
    return bpf_redirect(passage->next_hop->ifindex, 0);
}

SEC("tc") int tc_gtpu(struct __sk_buff *context)
{
    struct passage passage = { .frame_octets = context->len };

    if (!tc_is_readable(context))
        return TC_ACT_UNSPEC;
    return tc_forward(context, decide_gtpu(DATA(context), END(context), &passage), &passage);
}

SEC("tc") int tc_link(struct __sk_buff *context)
{
    struct passage passage = { .frame_octets = context->len };

    if (!tc_is_readable(context))
        return TC_ACT_UNSPEC;
    return tc_forward(context, decide_link(DATA(context), END(context), context->ifindex, &passage), &passage);
}

char _license[] SEC("license") = "Dual BSD/GPL";
