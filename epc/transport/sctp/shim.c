/* usrsctp under an event loop: see shim.h.

   usrsctp knows peers as AF_CONN addresses, opaque pointers; here each points to a struct path. All AF_CONN endpoints of a process
   share one port space, while nodes in one process may all listen on port 36412 of different addresses: so each endpoint has an
   internal port, unique in the process, and ports are translated on the way in and out. The checksum is ours for the same reason. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <usrsctp.h>

#include "shim.h"

#define MAX_LINKS 256
#define MAX_PATHS 16384
#define MAX_ENDPOINTS 32768
#define PATH_BUCKETS 8192
#define RECEIVE_BATCH 16
#define SEND_BATCH 64
#define BATCHED_OCTETS 2048
#define MAX_WAITING 1024
#define NOWHERE_PORT 9                 /* internal port that nobody binds: usrsctp answers what comes there as out of the blue */
#define FIRST_INTERNAL_PORT 1024
#define FIRST_EPHEMERAL_PORT 49152
#define MIN_ROOM 65536                 /* free octets that a receive wants: any notification fits */

struct path {
  struct sockaddr_storage peer;
  socklen_t peer_length;
  int link;                            /* -1: free */
  int endpoints;                       /* that keep it from being recycled */
  int next;                            /* in its bucket, -1 at the end */
};

struct link {
  int used, fd, kind, diverted;
  uint16_t internal[65536];            /* by external port; 0: not ours */
};

struct endpoint {
  struct socket *socket;               /* NULL: free */
  struct path *path;                   /* NULL for listeners */
  int link, listening, queued, blocked;
  uint16_t port;                       /* internal; 0: none yet */
};

static struct path paths[MAX_PATHS];
static int buckets[PATH_BUCKETS], paths_used, path_hand;
static struct link links[MAX_LINKS];
static struct endpoint endpoints[MAX_ENDPOINTS];
static int next_endpoint;
static uint16_t external[65536];       /* by internal port */
static int port_users[65536];          /* by internal port: accepted associations keep their listener's port alive */
static uint16_t next_internal = FIRST_INTERNAL_PORT, next_ephemeral = FIRST_EPHEMERAL_PORT, nowhere_external;
static int32_t ready[MAX_ENDPOINTS];   /* ring of endpoints with something to tell; each is in it at most once */
static unsigned ready_head, ready_tail;
static shim_counters count;

/* ---- what goes out ---- */

struct waiting {
  int link;
  size_t length;
  struct sockaddr_storage peer;
  socklen_t peer_length;
  char octets[BATCHED_OCTETS];         /* no packet is longer: the MTU sees to it */
};

static struct waiting *waiting;        /* ring of diverted packets, made when first needed */
static unsigned waiting_head, waiting_tail;

static int divert(const struct path *path, const void *packet, size_t length) {
  if (!waiting && !(waiting = malloc(MAX_WAITING * sizeof *waiting))) return ENOBUFS;
  if (length > BATCHED_OCTETS || waiting_tail - waiting_head == MAX_WAITING) { count.send_errors++; return 0; }
  struct waiting *place = &waiting[waiting_tail++ % MAX_WAITING];
  place->link = path->link;
  place->length = length;
  place->peer = path->peer;
  place->peer_length = path->peer_length;
  memcpy(place->octets, packet, length);
  return 0;
}

void shim_divert(int link, int on) { links[link].diverted = on; }

int shim_diverted(char *packet, size_t size, int *link, char *peer, size_t peer_size, char *host, size_t host_size) {
  if (waiting_head == waiting_tail) return 0;
  const struct waiting *place = &waiting[waiting_head++ % MAX_WAITING];
  if (size < place->length || peer_size < place->peer_length) return -EMSGSIZE;
  memcpy(packet, place->octets, place->length);
  memcpy(peer, &place->peer, place->peer_length);
  *link = place->link;
  const void *address = place->peer.ss_family == AF_INET ? (const void *)&((const struct sockaddr_in *)&place->peer)->sin_addr
                                                         : (const void *)&((const struct sockaddr_in6 *)&place->peer)->sin6_addr;
  inet_ntop(place->peer.ss_family, address, host, host_size);
  return (int)place->length;
}

int shim_transmit(int link, const char *packet, size_t length, const char *peer, size_t peer_length) {
  struct sockaddr_storage to;
  if (!links[link].used || peer_length > sizeof to) return -EBADF;
  memcpy(&to, peer, peer_length);
  socklen_t exact = to.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
  if (sendto(links[link].fd, packet, length, MSG_DONTWAIT, (struct sockaddr *)&to, exact) < 0) { count.send_errors++; return -errno; }
  return 0;
}

static struct mmsghdr out_headers[SEND_BATCH];
static struct iovec out_vectors[SEND_BATCH];
static struct sockaddr_storage out_peers[SEND_BATCH];
static char out_octets[SEND_BATCH][BATCHED_OCTETS];
static int out_count, out_link;

void shim_flush(void) {
  int done = 0;
  while (done < out_count) {
    int sent = sendmmsg(links[out_link].fd, out_headers + done, out_count - done, MSG_DONTWAIT);
    if (sent <= 0) { count.send_errors++; sent = 1; }                   /* lost, as a packet may be: SCTP sends it again */
    done += sent;
  }
  out_count = 0;
}

static int output(void *address, void *packet, size_t length, uint8_t tos, uint8_t set_df) {
  struct path *path = address;
  struct sctp_common_header *header = packet;
  (void)tos; (void)set_df;
  if (path->link < 0 || !links[path->link].used) return EHOSTUNREACH;
  uint16_t internal_port = ntohs(header->source_port);
  header->source_port = htons(internal_port == NOWHERE_PORT ? nowhere_external : external[internal_port]);
  header->crc32c = 0;
  header->crc32c = usrsctp_crc32c(packet, length);
  count.packets_out++;
  if (links[path->link].diverted) return divert(path, packet, length);
  if (out_count == SEND_BATCH || (out_count && (out_link != path->link || length > BATCHED_OCTETS))) shim_flush();
  if (length > BATCHED_OCTETS) {
    if (sendto(links[path->link].fd, packet, length, MSG_DONTWAIT, (struct sockaddr *)&path->peer, path->peer_length) < 0) count.send_errors++;
    return 0;
  }
  out_link = path->link;
  memcpy(out_octets[out_count], packet, length);
  out_peers[out_count] = path->peer;
  out_vectors[out_count] = (struct iovec){out_octets[out_count], length};
  out_headers[out_count].msg_hdr = (struct msghdr){.msg_name = &out_peers[out_count], .msg_namelen = path->peer_length,
                                                   .msg_iov = &out_vectors[out_count], .msg_iovlen = 1};
  out_count++;
  return 0;
}

/* ---- paths: who is at the other end of a link ---- */

static unsigned bucket_of(int link, const struct sockaddr_storage *peer) {
  uint64_t hash = (uint64_t)link * 0x9E3779B97F4A7C15ull;
  if (peer->ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
    hash ^= ((uint64_t)v4->sin_addr.s_addr << 16) | v4->sin_port;
  } else {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
    uint64_t half[2];
    memcpy(half, &v6->sin6_addr, sizeof half);
    hash ^= half[0] * 31 ^ half[1] ^ ((uint64_t)v6->sin6_port << 48);
  }
  return (unsigned)((hash * 0x9E3779B97F4A7C15ull) >> 40) % PATH_BUCKETS;
}

static int same_peer(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
  if (a->ss_family != b->ss_family) return 0;
  if (a->ss_family == AF_INET) {
    const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
    return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
  }
  const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
  return x->sin6_port == y->sin6_port && !memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr);
}

static void release_path(struct path *path) {
  int *at = &buckets[bucket_of(path->link, &path->peer)];
  while (*at != (int)(path - paths)) at = &paths[*at].next;
  *at = path->next;
  usrsctp_deregister_address(path);
  path->link = -1;
}

static struct path *path_to(int link, const struct sockaddr_storage *peer, socklen_t length) {
  unsigned bucket = bucket_of(link, peer);
  for (int i = buckets[bucket]; i >= 0; i = paths[i].next)
    if (paths[i].link == link && same_peer(&paths[i].peer, peer)) return &paths[i];
  struct path *path = NULL;
  if (paths_used < MAX_PATHS) path = &paths[paths_used++];
  for (int tried = 0; !path && tried < MAX_PATHS; tried++) {            /* strangers make room for strangers */
    struct path *old = &paths[path_hand++ % MAX_PATHS];
    if (old->endpoints) continue;
    if (old->link >= 0) release_path(old);
    path = old;
  }
  if (!path) { count.paths_refused++; return NULL; }
  path->peer = *peer;
  path->peer_length = length;
  path->link = link;
  path->endpoints = 0;
  path->next = buckets[bucket];
  buckets[bucket] = (int)(path - paths);
  usrsctp_register_address(path);                                       /* before its first packet: usrsctp wants it as a local address */
  return path;
}

/* ---- links ---- */

int shim_link_open(int fd, int kind) {
  for (int i = 0; i < MAX_LINKS; i++)
    if (!links[i].used) {
      links[i].used = 1;
      links[i].fd = fd;
      links[i].kind = kind;
      links[i].diverted = 0;
      return i;
    }
  return -ENFILE;
}

void shim_link_close(int link) {
  if (out_count && out_link == link) shim_flush();
  for (int i = 0; i < paths_used; i++)
    if (paths[i].link == link) { release_path(&paths[i]); paths[i].endpoints = 0; }
  memset(links[link].internal, 0, sizeof links[link].internal);
  links[link].used = 0;
  links[link].fd = -1;
}

/* ---- endpoints ---- */

static void mark(int handle) {
  if (!endpoints[handle].queued) {
    endpoints[handle].queued = 1;
    ready[ready_tail++ % MAX_ENDPOINTS] = handle;
  }
}

static void upcall(struct socket *socket, void *argument, int flags) {
  (void)socket; (void)flags;
  mark((int)(intptr_t)argument);
}

static int valid(int handle) { return handle > 0 && handle < MAX_ENDPOINTS && endpoints[handle].socket; }

static int new_endpoint(struct socket *socket, int link) {
  for (int tried = 0; tried < MAX_ENDPOINTS; tried++) {
    next_endpoint = next_endpoint % (MAX_ENDPOINTS - 1) + 1;
    struct endpoint *endpoint = &endpoints[next_endpoint];
    if (endpoint->socket) continue;
    int queued = endpoint->queued;                                      /* an old entry in the ring stays true of the new owner */
    *endpoint = (struct endpoint){.socket = socket, .link = link, .queued = queued};
    return next_endpoint;
  }
  return -EMFILE;
}

static int subscribe(struct socket *socket) {
  static const uint16_t events[] = {SCTP_ASSOC_CHANGE, SCTP_PEER_ADDR_CHANGE, SCTP_SHUTDOWN_EVENT, SCTP_PARTIAL_DELIVERY_EVENT};
  struct sctp_event event = {.se_assoc_id = SCTP_FUTURE_ASSOC, .se_on = 1};
  int on = 1;
  for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
    event.se_type = events[i];
    if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_EVENT, &event, sizeof event)) return -errno;
  }
  if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_RECVRCVINFO, &on, sizeof on)) return -errno;
  if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_NODELAY, &on, sizeof on)) return -errno;
  return usrsctp_set_non_blocking(socket, 1) ? -errno : 0;
}

static int configure(struct socket *socket, const shim_profile *profile) {
  struct sctp_initmsg init = {.sinit_num_ostreams = profile->outbound_streams, .sinit_max_instreams = profile->inbound_streams,
                              .sinit_max_attempts = profile->init_attempts, .sinit_max_init_timeo = (uint16_t)profile->rto_max_ms};
  struct sctp_rtoinfo rto = {.srto_initial = profile->rto_initial_ms, .srto_min = profile->rto_min_ms, .srto_max = profile->rto_max_ms};
  struct sctp_assocparams association = {.sasoc_asocmaxrxt = profile->association_max_retransmissions};
  struct sctp_sack_info sack = {.sack_delay = profile->sack_delay_ms, .sack_freq = 2};
  struct sctp_paddrparams path;
  memset(&path, 0, sizeof path);
  path.spp_address.ss_family = AF_CONN;
  path.spp_hbinterval = profile->heartbeat_ms;
  path.spp_pathmaxrxt = profile->path_max_retransmissions;
  path.spp_pathmtu = profile->mtu;
  path.spp_flags = SPP_HB_ENABLE | SPP_PMTUD_DISABLE;
  if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_INITMSG, &init, sizeof init)) return -errno;
  if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_RTOINFO, &rto, sizeof rto)) return -errno;
  if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_ASSOCINFO, &association, sizeof association)) return -errno;
  if (usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_DELAYED_SACK, &sack, sizeof sack)) return -errno;
  return usrsctp_setsockopt(socket, IPPROTO_SCTP, SCTP_PEER_ADDR_PARAMS, &path, sizeof path) ? -errno : 0;
}

/* Binds to an internal port and lets `wanted` (0: an ephemeral one) on the link lead to it. */
static int bind_port(int handle, uint16_t wanted) {
  struct endpoint *endpoint = &endpoints[handle];
  struct link *link = &links[endpoint->link];
  if (wanted && link->internal[wanted]) return -EADDRINUSE;
  for (int tried = 0; !wanted && tried < 65536 - FIRST_EPHEMERAL_PORT; tried++) {
    uint16_t candidate = next_ephemeral++;
    if (next_ephemeral < FIRST_EPHEMERAL_PORT) next_ephemeral = FIRST_EPHEMERAL_PORT;
    if (!link->internal[candidate]) wanted = candidate;
  }
  if (!wanted) return -EADDRNOTAVAIL;
  for (int tried = 0; tried < 65536 - FIRST_INTERNAL_PORT; tried++) {
    uint16_t internal_port = next_internal++;
    if (next_internal < FIRST_INTERNAL_PORT) next_internal = FIRST_INTERNAL_PORT;
    struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(internal_port)};
    if (external[internal_port]) continue;
    if (!usrsctp_bind(endpoint->socket, (struct sockaddr *)&address, sizeof address)) {
      endpoint->port = internal_port;
      port_users[internal_port] = 1;
      external[internal_port] = wanted;
      link->internal[wanted] = internal_port;
      return 0;
    }
    if (errno != EADDRINUSE) return -errno;
  }
  return -EADDRNOTAVAIL;
}

static void release_port(struct endpoint *endpoint) {
  if (!endpoint->port || --port_users[endpoint->port]) return;
  links[endpoint->link].internal[external[endpoint->port]] = 0;
  external[endpoint->port] = 0;
}

int shim_close(int handle, int abort) {
  if (!valid(handle)) return -EBADF;
  struct endpoint *endpoint = &endpoints[handle];
  if (abort) {
    struct linger linger = {1, 0};
    usrsctp_setsockopt(endpoint->socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  usrsctp_set_upcall(endpoint->socket, NULL, NULL);
  usrsctp_close(endpoint->socket);
  endpoint->socket = NULL;
  release_port(endpoint);
  if (endpoint->path && endpoint->path->endpoints > 0) endpoint->path->endpoints--;
  return 0;
}

static int open_endpoint(int link, uint16_t port, const shim_profile *profile) {
  struct socket *socket = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
  if (!socket) return -errno;
  int handle = new_endpoint(socket, link);
  if (handle < 0) { usrsctp_close(socket); return handle; }
  int error = subscribe(socket);
  if (!error) error = configure(socket, profile);
  if (!error) error = bind_port(handle, port);
  if (error) { shim_close(handle, 0); return error; }
  usrsctp_set_upcall(socket, upcall, (void *)(intptr_t)handle);
  return handle;
}

int shim_listen(int link, uint16_t port, const shim_profile *profile) {
  int handle = open_endpoint(link, port, profile);
  if (handle < 0) return handle;
  endpoints[handle].listening = 1;
  if (usrsctp_listen(endpoints[handle].socket, 1024)) { int error = errno; shim_close(handle, 0); return -error; }
  return handle;
}

int shim_connect(int link, const char *host, uint16_t udp_port, uint16_t local_port, uint16_t remote_port, const shim_profile *profile) {
  struct sockaddr_storage peer;
  struct sockaddr_in *v4 = (struct sockaddr_in *)&peer;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer;
  uint16_t port = links[link].kind == SHIM_UDP ? htons(udp_port) : 0;
  socklen_t length;
  memset(&peer, 0, sizeof peer);
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) { v4->sin_family = AF_INET; v4->sin_port = port; length = sizeof *v4; }
  else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) { v6->sin6_family = AF_INET6; v6->sin6_port = port; length = sizeof *v6; }
  else return -EINVAL;
  struct path *path = path_to(link, &peer, length);
  if (!path) return -ENOBUFS;
  int handle = open_endpoint(link, local_port, profile);
  if (handle < 0) return handle;
  endpoints[handle].path = path;
  path->endpoints++;
  struct sockaddr_conn address = {.sconn_family = AF_CONN, .sconn_port = htons(remote_port), .sconn_addr = path};
  if (usrsctp_connect(endpoints[handle].socket, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
    int error = errno;
    shim_close(handle, 1);
    return -error;
  }
  return handle;
}

int shim_send(int handle, const void *data, size_t length, uint16_t stream, uint32_t ppid) {
  if (!valid(handle)) return -EBADF;
  struct sctp_sndinfo info = {.snd_sid = stream, .snd_ppid = htonl(ppid)};
  if (usrsctp_sendv(endpoints[handle].socket, data, length, NULL, 0, &info, sizeof info, SCTP_SENDV_SNDINFO, 0) >= 0) return 0;
  if (errno == EAGAIN || errno == EWOULDBLOCK) endpoints[handle].blocked = 1;
  return -errno;
}

int shim_shutdown(int handle) {
  if (!valid(handle)) return -EBADF;
  return usrsctp_shutdown(endpoints[handle].socket, SHUT_WR) ? -errno : 0;
}

int shim_local_port(int handle) { return valid(handle) ? external[endpoints[handle].port] : -EBADF; }

static int remote_of(struct socket *socket, struct path **path, uint16_t *port) {
  struct sockaddr *addresses = NULL;
  int found = usrsctp_getpaddrs(socket, 0, &addresses);
  if (found <= 0) return -ENOTCONN;
  struct sockaddr_conn *first = (struct sockaddr_conn *)addresses;
  *path = first->sconn_addr;
  *port = ntohs(first->sconn_port);
  usrsctp_freepaddrs(addresses);
  return 0;
}

int shim_peer(int handle, char *host, size_t host_size, uint16_t *udp_port, uint16_t *sctp_port) {
  if (!valid(handle)) return -EBADF;
  struct path *path;
  if (remote_of(endpoints[handle].socket, &path, sctp_port)) return -ENOTCONN;
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)&path->peer;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&path->peer;
  int is_v4 = path->peer.ss_family == AF_INET;
  *udp_port = ntohs(is_v4 ? v4->sin_port : v6->sin6_port);
  return inet_ntop(path->peer.ss_family, is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, host, host_size) ? 0 : -errno;
}

int shim_status(int handle, shim_state *state) {
  struct sctp_status status;
  socklen_t length = sizeof status;
  memset(&status, 0, sizeof status);
  if (!valid(handle)) return -EBADF;
  if (usrsctp_getsockopt(endpoints[handle].socket, IPPROTO_SCTP, SCTP_STATUS, &status, &length)) return -errno;
  *state = (shim_state){status.sstat_state, (int32_t)status.sstat_rwnd, status.sstat_unackdata, status.sstat_penddata, status.sstat_instrms,
                        status.sstat_outstrms, (int32_t)status.sstat_primary.spinfo_srtt, (int32_t)status.sstat_primary.spinfo_rto,
                        (int32_t)status.sstat_primary.spinfo_mtu, (int32_t)status.sstat_primary.spinfo_cwnd};
  return 0;
}

/* ---- what comes in ---- */

static void input(int link, const struct sockaddr_storage *peer, socklen_t peer_length, uint8_t *packet, size_t length) {
  struct sctp_common_header *header = (struct sctp_common_header *)packet;
  count.packets_in++;
  if (length < sizeof *header + 4) { count.too_short++; return; }
  uint16_t port = ntohs(header->destination_port), internal_port = links[link].internal[port];
  if (!internal_port && links[link].kind != SHIM_UDP) { count.not_ours++; return; }     /* raw sockets see other processes' packets too */
  uint32_t checksum = header->crc32c;
  header->crc32c = 0;
  if (usrsctp_crc32c(packet, length) != checksum) { count.bad_checksum++; return; }
  struct path *path = path_to(link, peer, peer_length);
  if (!path) return;
  if (!internal_port) { count.not_ours++; nowhere_external = port; internal_port = NOWHERE_PORT; }
  header->destination_port = htons(internal_port);
  usrsctp_conninput(path, packet, length, 0);
}

int shim_receive(int link, int max_packets) {
  static uint8_t octets[RECEIVE_BATCH][65536];
  static struct mmsghdr headers[RECEIVE_BATCH];
  static struct iovec vectors[RECEIVE_BATCH];
  static struct sockaddr_storage peers[RECEIVE_BATCH];
  int total = 0;
  while (total < max_packets && links[link].used) {
    for (int i = 0; i < RECEIVE_BATCH; i++) {
      vectors[i] = (struct iovec){octets[i], sizeof octets[i]};
      headers[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &vectors[i], .msg_iovlen = 1};
    }
    int received = recvmmsg(links[link].fd, headers, RECEIVE_BATCH, MSG_DONTWAIT, NULL);
    if (received <= 0) break;
    for (int i = 0; i < received; i++) {
      uint8_t *packet = octets[i];
      size_t length = headers[i].msg_len, ip_header = 0;
      if (links[link].kind == SHIM_RAW4) ip_header = length ? (packet[0] & 15) * 4u : 0;
      if (ip_header > length) { count.too_short++; continue; }
      if (links[link].kind == SHIM_RAW4) ((struct sockaddr_in *)&peers[i])->sin_port = 0;
      if (links[link].kind == SHIM_RAW6) ((struct sockaddr_in6 *)&peers[i])->sin6_port = 0;
      input(link, &peers[i], headers[i].msg_hdr.msg_namelen, packet + ip_header, length - ip_header);
    }
    total += received;
    if (received < RECEIVE_BATCH) break;
  }
  return total;
}

static int notification_record(struct socket *socket, const union sctp_notification *event, size_t length, shim_record *record) {
  if (length < sizeof event->sn_header) return 0;
  switch (event->sn_header.sn_type) {
  case SCTP_ASSOC_CHANGE: {
    const struct sctp_assoc_change *change = &event->sn_assoc_change;
    if (length < sizeof *change) return 0;
    record->value[0] = change->sac_outbound_streams;
    record->value[1] = change->sac_inbound_streams;
    switch (change->sac_state) {
    case SCTP_COMM_UP: record->kind = SHIM_UP; return 1;
    case SCTP_RESTART: record->kind = SHIM_RESTARTED; return 1;
    case SCTP_SHUTDOWN_COMP: record->kind = SHIM_SHUT_DOWN; return 1;
    case SCTP_COMM_LOST:
    case SCTP_CANT_STR_ASSOC: {
      int error = 0;
      socklen_t size = sizeof error;
      record->kind = change->sac_state == SCTP_COMM_LOST ? SHIM_LOST : SHIM_CANNOT_START;
      usrsctp_getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size);
      record->value[0] = error;
      record->value[1] = change->sac_error;
      return 1;
    }
    }
    return 0;
  }
  case SCTP_PEER_ADDR_CHANGE:
    if (length < sizeof event->sn_paddr_change) return 0;
    record->kind = SHIM_PATH;
    record->value[0] = (int32_t)event->sn_paddr_change.spc_state;
    return 1;
  case SCTP_SHUTDOWN_EVENT: record->kind = SHIM_PEER_SHUTS_DOWN; return 1;
  case SCTP_PARTIAL_DELIVERY_EVENT: record->kind = SHIM_PART_ABORTED; return 1;
  }
  return 0;
}

static int poll_listener(int handle, shim_record *records, int max_records) {
  int filled = 0;
  while (filled < max_records) {
    struct socket *socket = usrsctp_accept(endpoints[handle].socket, NULL, NULL);
    if (!socket) return filled;
    struct path *path;
    uint16_t port;
    int accepted = new_endpoint(socket, endpoints[handle].link);
    if (accepted < 0) { usrsctp_close(socket); continue; }
    endpoints[accepted].port = endpoints[handle].port;
    port_users[endpoints[accepted].port]++;
    if (subscribe(socket) || remote_of(socket, &path, &port)) { shim_close(accepted, 1); continue; }
    endpoints[accepted].path = path;
    path->endpoints++;
    usrsctp_set_upcall(socket, upcall, (void *)(intptr_t)accepted);
    records[filled++] = (shim_record){.handle = accepted, .kind = SHIM_ACCEPTED, .value = {handle, 0}};
    mark(accepted);
  }
  mark(handle);
  return filled;
}

static int poll_association(int handle, shim_record *records, int max_records, char *buffer, size_t buffer_size, size_t *used) {
  struct socket *socket = endpoints[handle].socket;
  int filled = 0;
  if (endpoints[handle].blocked && usrsctp_get_events(socket) & SCTP_EVENT_WRITE) {
    endpoints[handle].blocked = 0;
    records[filled++] = (shim_record){.handle = handle, .kind = SHIM_WRITABLE};
  }
  while (filled < max_records && buffer_size - *used >= MIN_ROOM) {
    struct sctp_rcvinfo info;
    struct sockaddr_conn from;
    socklen_t from_length = sizeof from, info_length = sizeof info;
    unsigned info_type = SCTP_RECVV_NOINFO;
    int flags = 0;
    ssize_t length = usrsctp_recvv(socket, buffer + *used, buffer_size - *used, (struct sockaddr *)&from, &from_length, &info, &info_length,
                                   &info_type, &flags);
    if (length < 0) return filled;
    shim_record record = {.handle = handle, .kind = SHIM_MESSAGE, .offset = (uint32_t)*used, .length = (uint32_t)length};
    if (flags & MSG_NOTIFICATION) {
      if (notification_record(socket, (union sctp_notification *)(buffer + *used), (size_t)length, &record)) {
        record.length = 0;
        records[filled++] = record;
      }
      continue;
    }
    if (length == 0) return filled;                                     /* end of file: the notification before it said why */
    if (info_type == SCTP_RECVV_RCVINFO) { record.stream = info.rcv_sid; record.ppid = ntohl(info.rcv_ppid); }
    record.more = !(flags & MSG_EOR);
    records[filled++] = record;
    *used += ((size_t)length + 7) & ~(size_t)7;
  }
  mark(handle);                                                         /* no room for the rest: next time */
  return filled;
}

int shim_poll(shim_record *records, int max_records, char *buffer, size_t buffer_size) {
  int filled = 0;
  size_t used = 0;
  while (ready_head != ready_tail && filled < max_records && buffer_size - used >= MIN_ROOM) {
    int handle = ready[ready_head++ % MAX_ENDPOINTS];
    endpoints[handle].queued = 0;
    if (!endpoints[handle].socket) continue;
    if (endpoints[handle].listening) filled += poll_listener(handle, records + filled, max_records - filled);
    else filled += poll_association(handle, records + filled, max_records - filled, buffer, buffer_size, &used);
  }
  return filled;
}

/* ---- the whole ---- */

int shim_init(uint32_t seed) {
  for (int i = 0; i < PATH_BUCKETS; i++) buckets[i] = -1;
  next_ephemeral = (uint16_t)(FIRST_EPHEMERAL_PORT + seed % (65536 - FIRST_EPHEMERAL_PORT));
  usrsctp_init_nothreads(0, output, NULL);
  usrsctp_enable_crc32c_offload();
  usrsctp_sysctl_set_sctp_ecn_enable(0);
  usrsctp_sysctl_set_sctp_asconf_enable(0);
  usrsctp_sysctl_set_sctp_auth_enable(0);
  usrsctp_sysctl_set_sctp_sendspace(1 << 20);
  usrsctp_sysctl_set_sctp_recvspace(1 << 20);
  return 0;
}

void shim_timers(uint32_t elapsed_ms) { usrsctp_handle_timers(elapsed_ms); }

void shim_count(shim_counters *counters) { *counters = count; }

uint32_t shim_crc32c(const void *data, size_t length) { return usrsctp_crc32c((void *)data, length); }
