// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * For measurements only: a generator that is faster than what it measures, a sink that counts, and what tc takes to move a frame.
 *
 * The generator runs on frames that BPF_PROG_TEST_RUN makes (BPF_F_TEST_XDP_LIVE_FRAMES). Their pages come back as the receiver left
 * them, so that it writes all headers anew every time.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define HEADERS 72              /* up to the end of the user's IP header, and a little more */
#define TEID_AT 46              /* Ethernet, IPv4, UDP, and half of GTP-U */
#define INNER_AT 50

enum kind { IN_TUNNEL, PLAIN };

struct traffic {
    __u32 kind, ifindex;        /* what, and where to */
    __u32 sessions, first;      /* TEID (IN_TUNNEL) or destination address (PLAIN) count up from the first */
    __u32 first_ue, spare;
    __u8 headers[HEADERS];
};

struct map_definition { __u32 type, key_octets, value_octets, entries, flags; };

struct map_definition traffic SEC("maps") = { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct traffic), 1, 0 };
struct map_definition sequence SEC("maps") = { BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 1, 0 };
struct map_definition sunk SEC("maps") = { BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 1, 0 };

static __always_inline void write_checksum(struct iphdr *ip)
{
    __u16 *words = (__u16 *)ip;
    __u32 sum = 0;

    ip->check = 0;
#pragma unroll
    for (int i = 0; i < 10; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = ~((sum & 0xffff) + (sum >> 16));
}

SEC("xdp") int generate(struct xdp_md *context)
{
    void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
    __u32 only = 0;
    struct traffic *wanted = bpf_map_lookup_elem(&traffic, &only);
    __u64 *number = bpf_map_lookup_elem(&sequence, &only);

    if (!wanted || !number || data + HEADERS > end)
        return XDP_DROP;
    __u32 session = wanted->sessions ? (*number)++ % wanted->sessions : 0;
    __builtin_memcpy(data, wanted->headers, HEADERS);
    if (wanted->kind == IN_TUNNEL) {
        struct iphdr *inner = data + INNER_AT;
        *(__be32 *)(data + TEID_AT) = bpf_htonl(wanted->first + session);
        inner->saddr = bpf_htonl(wanted->first_ue + session);
        write_checksum(inner);
    } else {
        struct iphdr *ip = data + sizeof(struct ethhdr);
        ip->daddr = bpf_htonl(wanted->first + session);
        write_checksum(ip);
    }
    return bpf_redirect(wanted->ifindex, 0);
}

/* Nothing but redirection, with the MAC addresses of the way on: tc alone, without GTP-U and without rules. */
SEC("tc") int redirect(struct __sk_buff *context)
{
    void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
    __u32 only = 0;
    struct traffic *wanted = bpf_map_lookup_elem(&traffic, &only);

    if (!wanted || data + sizeof(struct ethhdr) > end)
        return TC_ACT_SHOT;
    __builtin_memcpy(data, wanted->headers, 2 * ETH_ALEN);
    return bpf_redirect(wanted->ifindex, 0);
}

SEC("xdp") int sink(struct xdp_md *context)
{
    __u32 only = 0;
    __u64 *count = bpf_map_lookup_elem(&sunk, &only);

    if (count) {
        count[0]++;
        count[1] += context->data_end - context->data;
    }
    return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
