/* usrsctp for one thread and one event loop. This file is read by the C compiler and by cffi alike.

   A link is a datagram socket that asyncio owns: UDP (RFC 6951) or raw IP 132. A handle is one SCTP endpoint, listening or associated.
   Functions that can fail return -errno.

   A link whose packets are diverted sends nothing by itself: shim_diverted takes the next packet (its length, 0: none waits), with the
   peer as octets for shim_transmit and as text. */

enum { SHIM_UDP = 0, SHIM_RAW4 = 1, SHIM_RAW6 = 2 };                                     /* link kinds */

enum {                                                                                   /* record kinds */
  SHIM_MESSAGE = 1,      /* a user message, or a part of one when `more` is set */
  SHIM_ACCEPTED,         /* value: the listener's handle */
  SHIM_UP,               /* value: outbound streams, inbound streams */
  SHIM_LOST,             /* value: errno that says how, SCTP error cause */
  SHIM_RESTARTED,        /* value: outbound streams, inbound streams */
  SHIM_SHUT_DOWN,        /* the graceful end is complete */
  SHIM_CANNOT_START,     /* value: errno that says how, SCTP error cause */
  SHIM_PEER_SHUTS_DOWN,
  SHIM_PART_ABORTED,     /* the rest of a partly delivered message will not come */
  SHIM_PATH,             /* value: SCTP_ADDR_AVAILABLE and so on */
  SHIM_WRITABLE          /* a send that was refused with EAGAIN may be repeated */
};

typedef struct {
  int32_t handle, kind;
  uint32_t offset, length;                                                               /* of the message in the buffer given to shim_poll */
  uint32_t ppid;
  uint16_t stream, more;
  int32_t value[2];
} shim_record;

typedef struct {
  uint32_t rto_initial_ms, rto_min_ms, rto_max_ms, heartbeat_ms, sack_delay_ms, mtu;
  uint16_t association_max_retransmissions, path_max_retransmissions, init_attempts, outbound_streams, inbound_streams;
} shim_profile;

typedef struct {
  int32_t state, peer_window, unacknowledged, pending, inbound_streams, outbound_streams, srtt_ms, rto_ms, mtu, congestion_window;
} shim_state;

typedef struct {
  uint64_t packets_in, packets_out, bad_checksum, too_short, not_ours, send_errors, paths_refused;
} shim_counters;

int shim_init(uint32_t seed);
int shim_link_open(int fd, int kind);
void shim_link_close(int link);
void shim_divert(int link, int on);
int shim_diverted(char *packet, size_t size, int *link, char *peer, size_t peer_size, char *host, size_t host_size);
int shim_transmit(int link, const char *packet, size_t length, const char *peer, size_t peer_length);
int shim_listen(int link, uint16_t port, const shim_profile *profile);
int shim_connect(int link, const char *host, uint16_t udp_port, uint16_t local_port, uint16_t remote_port, const shim_profile *profile);
int shim_send(int handle, const void *data, size_t length, uint16_t stream, uint32_t ppid);
int shim_shutdown(int handle);
int shim_close(int handle, int abort);
int shim_local_port(int handle);
int shim_peer(int handle, char *host, size_t host_size, uint16_t *udp_port, uint16_t *sctp_port);
int shim_status(int handle, shim_state *state);
int shim_receive(int link, int max_packets);
int shim_poll(shim_record *records, int max_records, char *buffer, size_t buffer_size);
void shim_flush(void);
void shim_timers(uint32_t elapsed_ms);
void shim_count(shim_counters *counters);
uint32_t shim_crc32c(const void *data, size_t length);
