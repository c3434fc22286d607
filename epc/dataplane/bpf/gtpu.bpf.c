// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The fast path of the GTP-U user plane: G-PDUs without optional header part, and plain IP packets from a link, for rules that user
 * space has compiled into the maps below. Whatever is rare, odd or unknown goes on to the kernel, and so to the socket back end, which
 * has the same rules: echo, error indication, extension headers, fragments, unknown TEIDs, broken packets, neighbours not yet resolved.
 *
 * The structures are mirrored in layout.py. There are four programs, for two places (a device with a GTP-U address; a link that carries
 * plain IP) and two hooks (XDP; tc). Outer headers are IPv4, users' packets IPv4 or IPv6.
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
#define QUOTAS 2
#define NONE 0                  /* index 0 of every array is not used */

#define IP_DF 0x4000
#define IP_FRAGMENT 0x3fff      /* more fragments, or an offset */

struct gtp { __be16 kind, length; __be32 teid; };

struct outer { struct iphdr ip; struct udphdr udp; struct gtp gtp; };

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
    __u32 meters[METERS];
    __u32 quotas[QUOTAS];
};

/* Where packets come in. ``rule`` takes those that no filter does. */
struct entry { __u32 first_filter, filters; struct rule rule; };

enum filter_flags { REMOTE_PORTS = 1, LOCAL_PORTS = 2, ANY_PROTOCOL = 4 };

struct filter {
    __u8 version, protocol;     /* version 0: any address */
    __u8 flags, spare;
    __be32 network[4], mask[4];
    __u16 remote_ports[2], local_ports[2];
    __u32 rule;
};

/* Our GTP-U addresses; one node has at most two. */
struct ports { __be32 address[2]; };

struct tunnel_key { __be32 teid; __u32 port; };
struct ipv4_key { __u32 ifindex; __be32 address; };
struct ipv6_key { __u64 ifindex, prefix; };

struct next_hop { __u32 ifindex, mtu; __be32 source, destination; __u8 destination_mac[6], source_mac[6]; __u32 spare; };

struct count { __u64 packets, octets; };

/* A token bucket as virtual scheduling (ITU-T I.371): the time until which the packets so far have used the rate up. */
struct meter { __u64 q20_ns_per_octet, burst_ns, busy_until_ns, spare; };

struct event { __u32 kind, index; };

enum event_kind { QUOTA_REACHED = 1 };

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
MAP(quotas, ARRAY, 4, 8, 0, BPF_F_MMAPABLE);    /* octets left */
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

struct flow { __be32 remote[4]; __u16 remote_port, local_port; __u8 version, protocol, has_ports; };

/* Returns 0 for packets whose flow takes more to find out: options, extension headers. */
INLINE int read_flow(void *packet, void *end, int uplink, struct flow *flow)
{
    struct iphdr *ip = packet;
    struct ipv6hdr *ip6 = packet;
    __be16 *transport;

    if ((void *)(ip + 1) > end)
        return 0;
    flow->version = ip->version;
    if (ip->version == 4) {
        if (ip->ihl != 5)
            return 0;
        flow->protocol = ip->protocol;
        flow->remote[0] = uplink ? ip->daddr : ip->saddr;
        flow->has_ports = !(ip->frag_off & bpf_htons(0x1fff));
        transport = (void *)(ip + 1);
    } else {
        if (ip->version != 6 || (void *)(ip6 + 1) > end)
            return 0;
        flow->protocol = ip6->nexthdr;
        if (ip6->nexthdr == 0 || ip6->nexthdr == 43 || ip6->nexthdr == 44 || ip6->nexthdr == 60)
            return 0;
        __builtin_memcpy(flow->remote, uplink ? &ip6->daddr : &ip6->saddr, 16);
        flow->has_ports = 1;
        transport = (void *)(ip6 + 1);
    }
    if (flow->protocol != IPPROTO_UDP && flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_SCTP)
        flow->has_ports = 0;
    if ((void *)(transport + 2) > end)
        flow->has_ports = 0;
    if (flow->has_ports) {
        flow->remote_port = bpf_ntohs(uplink ? transport[1] : transport[0]);
        flow->local_port = bpf_ntohs(uplink ? transport[0] : transport[1]);
    }
    return 1;
}

INLINE int matches(struct filter *filter, struct flow *flow)
{
    if (filter->version) {
        if (filter->version != flow->version || (flow->remote[0] & filter->mask[0]) != filter->network[0])
            return 0;
        if (filter->version == 6 && ((flow->remote[1] & filter->mask[1]) != filter->network[1]
                || (flow->remote[2] & filter->mask[2]) != filter->network[2] || (flow->remote[3] & filter->mask[3]) != filter->network[3]))
            return 0;
    }
    if (!(filter->flags & ANY_PROTOCOL) && filter->protocol != flow->protocol)
        return 0;
    if (!(filter->flags & (REMOTE_PORTS | LOCAL_PORTS)))
        return 1;
    if (!flow->has_ports)
        return 0;
    if ((filter->flags & REMOTE_PORTS) && (flow->remote_port < filter->remote_ports[0] || flow->remote_port > filter->remote_ports[1]))
        return 0;
    return !(filter->flags & LOCAL_PORTS) || (flow->local_port >= filter->local_ports[0] && flow->local_port <= filter->local_ports[1]);
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

/* 1: some of the quota is left. The packet that uses it up still goes, and tells. */
INLINE int is_within_quota(__u32 index, __u32 octets)
{
    __s64 *left = bpf_map_lookup_elem(&quotas, &index);
    if (!left)
        return 1;
    if (*(volatile __s64 *)left <= 0)
        return 0;
    __s64 before = __sync_fetch_and_add(left, -(__s64)octets);
    if (before > 0 && before <= octets) {
        struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
        if (event) {
            event->kind = QUOTA_REACHED;
            event->index = index;
            bpf_ringbuf_submit(event, 0);
        }
    }
    return before > 0;
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

/* Everything but moving octets: which rule takes the user's packet, and whether it lets it go. */
INLINE int decide(struct entry *entry, void *packet, void *end, __u32 octets, struct rule **chosen, struct next_hop **next_hop)
{
    struct rule *rule = &entry->rule;

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
    switch (rule->action) {
    case DISCARD:
        return drop(rule->reason);
    case HOLD: {
        __u32 index = rule->credit;
        __s64 *credit = bpf_map_lookup_elem(&credits, &index);
        if (credit && (*(volatile __s64 *)credit <= 0 || __sync_fetch_and_add(credit, -1) <= 0))
            return drop(BUFFER_FULL);
        return TO_USER_SPACE;
    }
    case TO_TUNNEL:
    case TO_LINK:
        break;
    default:
        return TO_USER_SPACE;
    }
    __u32 id = rule->next_hop;
    *next_hop = bpf_map_lookup_elem(&next_hops, &id);
    if (!*next_hop || octets + (rule->action == TO_TUNNEL ? sizeof(struct outer) : 0) > (*next_hop)->mtu)
        return TO_USER_SPACE;
#pragma unroll
    for (int i = 0; i < METERS; i++)
        if (rule->meters[i] != NONE && !conforms(rule->meters[i], octets))
            return drop(RATE_EXCEEDED);
#pragma unroll
    for (int i = 0; i < QUOTAS; i++)
        if (rule->quotas[i] != NONE && !is_within_quota(rule->quotas[i], octets))
            return drop(QUOTA_EXHAUSTED);
    count(rule, octets);
    *chosen = rule;
    return rule->action;
}

/* Finds the rules for a frame from a device with a GTP-U address. ``octets`` becomes the length of the user's packet. */
INLINE int decide_gtpu(void *data, void *end, struct rule **rule, struct next_hop **next_hop, __u32 *octets)
{
    struct ethhdr *ethernet = data;
    struct outer *outer = (void *)(ethernet + 1);

    if ((void *)(outer + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
        return TO_USER_SPACE;
    if (*(__u8 *)&outer->ip != 0x45 || outer->ip.protocol != IPPROTO_UDP || outer->ip.frag_off & bpf_htons(IP_FRAGMENT))
        return TO_USER_SPACE;
    if (outer->udp.dest != bpf_htons(GTPU_PORT) || outer->gtp.kind != bpf_htons(G_PDU))
        return TO_USER_SPACE;
    __u32 length = bpf_ntohs(outer->gtp.length), total = length + sizeof(struct outer);
    if (!length || bpf_ntohs(outer->ip.tot_len) != total || bpf_ntohs(outer->udp.len) != total - sizeof(struct iphdr))
        return TO_USER_SPACE;
    if ((void *)(ethernet + 1) + total > end)
        return TO_USER_SPACE;
    __u32 only = 0;
    struct ports *ours = bpf_map_lookup_elem(&ports, &only);
    if (!ours || (outer->ip.daddr != ours->address[0] && outer->ip.daddr != ours->address[1]))
        return TO_USER_SPACE;
    struct tunnel_key key = { .teid = outer->gtp.teid, .port = outer->ip.daddr != ours->address[0] };
    struct entry *entry = bpf_map_lookup_elem(&tunnels, &key);
    if (!entry)
        return TO_USER_SPACE;
    *octets = length;
    return decide(entry, outer + 1, end, length, rule, next_hop);
}

/* Likewise from a device that carries plain IP. */
INLINE int decide_link(void *data, void *end, __u32 ifindex, struct rule **rule, struct next_hop **next_hop, __u32 *octets)
{
    struct ethhdr *ethernet = data;
    struct iphdr *ip = (void *)(ethernet + 1);
    struct ipv6hdr *ip6 = (void *)(ethernet + 1);
    struct entry *entry;

    if ((void *)(ip + 1) > end)
        return TO_USER_SPACE;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
        struct ipv4_key key = { .ifindex = ifindex, .address = ip->daddr };
        *octets = bpf_ntohs(ip->tot_len);
        entry = bpf_map_lookup_elem(&ues_ipv4, &key);
    } else {
        if (ethernet->h_proto != bpf_htons(ETH_P_IPV6) || (void *)(ip6 + 1) > end)
            return TO_USER_SPACE;
        struct ipv6_key key = { .ifindex = ifindex };
        __u32 *address = (__u32 *)&ip6->daddr;
        key.prefix = (__u64)address[1] << 32 | address[0];
        *octets = bpf_ntohs(ip6->payload_len) + sizeof(*ip6);
        entry = bpf_map_lookup_elem(&ues_ipv6, &key);
    }
    if (!entry || (void *)(ethernet + 1) + *octets > end || !is_ip(ip, end, *octets))
        return TO_USER_SPACE;
    return decide(entry, ip, end, *octets, rule, next_hop);
}

INLINE void write_ethernet(struct ethhdr *ethernet, struct next_hop *next_hop, __be16 protocol)
{
    __builtin_memcpy(ethernet->h_dest, next_hop->destination_mac, 6);
    __builtin_memcpy(ethernet->h_source, next_hop->source_mac, 6);
    ethernet->h_proto = protocol;
}

INLINE void write_outer(struct outer *outer, struct next_hop *next_hop, __be32 teid, __u32 octets, __u8 tos)
{
    __u16 *words = (__u16 *)&outer->ip;
    __u32 sum = 0;

    *(__u8 *)&outer->ip = 0x45;
    outer->ip.tos = tos;
    outer->ip.tot_len = bpf_htons(octets + sizeof(struct outer));
    outer->ip.id = 0;
    outer->ip.frag_off = bpf_htons(IP_DF);
    outer->ip.ttl = 64;
    outer->ip.protocol = IPPROTO_UDP;
    outer->ip.check = 0;
    outer->ip.saddr = next_hop->source;
    outer->ip.daddr = next_hop->destination;
#pragma unroll
    for (int i = 0; i < 10; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    outer->ip.check = ~((sum & 0xffff) + (sum >> 16));
    outer->udp.source = outer->udp.dest = bpf_htons(GTPU_PORT);
    outer->udp.len = bpf_htons(octets + sizeof(struct outer) - sizeof(struct iphdr));
    outer->udp.check = 0;       /* RFC 768: none; the users' packets have their own */
    outer->gtp.kind = bpf_htons(G_PDU);
    outer->gtp.length = bpf_htons(octets);
    outer->gtp.teid = teid;
}

INLINE __be16 protocol_of(void *packet)
{
    return *(__u8 *)packet >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
}

#define DATA(context) ((void *)(long)(context)->data)
#define END(context) ((void *)(long)(context)->data_end)

/* XDP */

/* Cuts off what Ethernet padded. */
INLINE int xdp_trim(struct xdp_md *context, __u32 frame_octets)
{
    long surplus = (long)END(context) - (long)DATA(context) - frame_octets;
    return surplus > 0 ? bpf_xdp_adjust_tail(context, -(int)surplus) : 0;
}

INLINE int xdp_relay(struct xdp_md *context, struct rule *rule, struct next_hop *next_hop, __u32 octets)
{
    struct ethhdr *ethernet = DATA(context);
    struct outer *outer = (void *)(ethernet + 1);

    if ((void *)(outer + 1) > END(context))
        return XDP_DROP;
    write_ethernet(ethernet, next_hop, bpf_htons(ETH_P_IP));
    write_outer(outer, next_hop, rule->teid, octets, outer->ip.tos);
    return bpf_redirect(next_hop->ifindex, 0);
}

INLINE int xdp_decapsulate(struct xdp_md *context, struct next_hop *next_hop, __u32 octets)
{
    struct ethhdr *ethernet;

    if (xdp_trim(context, sizeof(*ethernet) + sizeof(struct outer) + octets) || bpf_xdp_adjust_head(context, sizeof(struct outer)))
        return XDP_DROP;
    ethernet = DATA(context);
    if ((void *)(ethernet + 1) + 1 > END(context))
        return XDP_DROP;
    write_ethernet(ethernet, next_hop, protocol_of(ethernet + 1));
    return bpf_redirect(next_hop->ifindex, 0);
}

INLINE int xdp_encapsulate(struct xdp_md *context, struct rule *rule, struct next_hop *next_hop, __u32 octets)
{
    struct ethhdr *ethernet;

    if (xdp_trim(context, sizeof(*ethernet) + octets) || bpf_xdp_adjust_head(context, -(int)sizeof(struct outer)))
        return XDP_DROP;
    ethernet = DATA(context);
    if ((void *)(ethernet + 1) + sizeof(struct outer) > END(context))
        return XDP_DROP;
    write_ethernet(ethernet, next_hop, bpf_htons(ETH_P_IP));
    write_outer((void *)(ethernet + 1), next_hop, rule->teid, octets, 0);
    return bpf_redirect(next_hop->ifindex, 0);
}

SEC("xdp") int xdp_gtpu(struct xdp_md *context)
{
    struct rule *rule = 0;
    struct next_hop *next_hop = 0;
    __u32 octets = 0;
    int action = decide_gtpu(DATA(context), END(context), &rule, &next_hop, &octets);

    if (action == DISCARD)
        return XDP_DROP;
    if (action == TO_USER_SPACE || !rule || !next_hop)
        return XDP_PASS;
    return action == TO_TUNNEL ? xdp_relay(context, rule, next_hop, octets) : xdp_decapsulate(context, next_hop, octets);
}

SEC("xdp") int xdp_link(struct xdp_md *context)
{
    struct rule *rule = 0;
    struct next_hop *next_hop = 0;
    __u32 octets = 0;
    int action = decide_link(DATA(context), END(context), context->ingress_ifindex, &rule, &next_hop, &octets);

    if (action == DISCARD)
        return XDP_DROP;
    if (action != TO_TUNNEL || !rule || !next_hop)
        return XDP_PASS;
    return xdp_encapsulate(context, rule, next_hop, octets);
}

/* tc */

/* The headers as one piece, which what comes from a NIC need not be. A super-packet of several goes to user space. */
INLINE int tc_is_readable(struct __sk_buff *context)
{
    __u32 wanted = sizeof(struct ethhdr) + sizeof(struct outer) + sizeof(struct ipv6hdr) + 4;

    if (context->gso_segs > 1)
        return 0;
    if (DATA(context) + wanted > END(context))
        bpf_skb_pull_data(context, context->len < wanted ? context->len : wanted);
    return 1;
}

INLINE int tc_is_whole(struct __sk_buff *context, __u32 frame_octets)
{
    return context->len <= frame_octets || !bpf_skb_change_tail(context, frame_octets, 0);
}

SEC("tc") int tc_gtpu(struct __sk_buff *context)
{
    struct rule *rule = 0;
    struct next_hop *next_hop = 0;
    struct ethhdr *ethernet;
    __u32 octets = 0;

    if (!tc_is_readable(context))
        return TC_ACT_UNSPEC;
    int action = decide_gtpu(DATA(context), END(context), &rule, &next_hop, &octets);
    if (action == DISCARD)
        return TC_ACT_SHOT;
    if (action == TO_USER_SPACE || !rule || !next_hop)
        return TC_ACT_UNSPEC;
    ethernet = DATA(context);
    if (action == TO_TUNNEL) {
        struct outer *outer = (void *)(ethernet + 1);
        if ((void *)(outer + 1) > END(context))
            return TC_ACT_SHOT;
        write_ethernet(ethernet, next_hop, bpf_htons(ETH_P_IP));
        write_outer(outer, next_hop, rule->teid, octets, outer->ip.tos);
        return bpf_redirect(next_hop->ifindex, 0);
    }
    if (!tc_is_whole(context, sizeof(*ethernet) + sizeof(struct outer) + octets)
            || bpf_skb_adjust_room(context, -(int)sizeof(struct outer), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
        return TC_ACT_SHOT;
    ethernet = DATA(context);
    if ((void *)(ethernet + 1) + 1 > END(context))
        return TC_ACT_SHOT;
    write_ethernet(ethernet, next_hop, protocol_of(ethernet + 1));
    return bpf_redirect(next_hop->ifindex, 0);
}

SEC("tc") int tc_link(struct __sk_buff *context)
{
    struct rule *rule = 0;
    struct next_hop *next_hop = 0;
    struct ethhdr *ethernet;
    __u32 octets = 0;

    if (!tc_is_readable(context))
        return TC_ACT_UNSPEC;
    int action = decide_link(DATA(context), END(context), context->ifindex, &rule, &next_hop, &octets);
    if (action == DISCARD)
        return TC_ACT_SHOT;
    if (action != TO_TUNNEL || !rule || !next_hop)
        return TC_ACT_UNSPEC;
    if (!tc_is_whole(context, sizeof(*ethernet) + octets)
            || bpf_skb_adjust_room(context, sizeof(struct outer), BPF_ADJ_ROOM_MAC,
                                   BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_FIXED_GSO))
        return TC_ACT_SHOT;
    ethernet = DATA(context);
    if ((void *)(ethernet + 1) + sizeof(struct outer) > END(context))
        return TC_ACT_SHOT;
    write_ethernet(ethernet, next_hop, bpf_htons(ETH_P_IP));
    write_outer((void *)(ethernet + 1), next_hop, rule->teid, octets, 0);
    return bpf_redirect(next_hop->ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
