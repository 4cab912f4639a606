/** How long and how much a client may keep the server busy. Tests pass smaller ones. */
export interface EdgeLimits {
  /** From the connection, or the first byte of a later request, until its headers are there. */
  headersMs: number;
  /** How long a body may make no progress at the pace of {@link bodyBytesPerSecond}. */
  requestMs: number;
  /** What a body has to come with, beyond the time of {@link requestMs}. */
  bodyBytesPerSecond: number;
  /** How often connections are looked at for the times of this table. */
  checkMs: number;
  /** Between two requests. Longer than the 60 s of most load balancers, which else send into a closing connection. */
  keepAliveMs: number;
  /** Until the last of what waits for its client is taken. Starts again whenever an answer adds to it. */
  answerMs: number;
  /** Of all answers that wait for their clients. */
  unsentBytes: number;
  /** Open at once; so many that file descriptors are left for deliveries and the databases. */
  connections: number;
}

export const EDGE_LIMITS: EdgeLimits = {
  headersMs: 10_000,
  requestMs: 30_000,
  bodyBytesPerSecond: 64 * 1024,
  checkMs: 1_000,
  keepAliveMs: 75_000,
  answerMs: 60_000,
  unsentBytes: 128 * 1024 * 1024,
  connections: 10_000,
};

/**
 * Connections that may wait to be accepted. Node's 511 are few when thousands of clients come at the same moment: the
 * system resets the others. It lowers this to its own limit (Linux: net.core.somaxconn).
 */
export const CONNECTION_BACKLOG = 4_096;

/** The request line and all headers together: Node's own default, said aloud. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Lines of it. Node drops further ones without a word beyond a number of its own. */
export const MAX_HEADERS = 100;
export const MAX_QUERY_PARAMETERS = 100;
/** Of a path: ids have 36 characters. */
export const MAX_PATH_PARAMETER_CHARACTERS = 256;
