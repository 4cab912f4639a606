/** Where Redis is to be found, and how to log in. */
export type RedisPlace =
  | { kind: 'server'; url: string }
  | ({ kind: 'sentinel'; name: string; database: number; sentinel: Login } & Common)
  | ({ kind: 'cluster' } & Common);

interface Common extends Login {
  /** Sentinels, or nodes of a cluster: some of them, since they know the others. */
  hosts: { host: string; port: number }[];
  tls: boolean;
}

interface Login {
  username: string | undefined;
  password: string | undefined;
}

const FORMS =
  'must be redis://host:port, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port ' +
  '(rediss instead of redis for TLS)';

const SENTINEL_PORT = 26_379;
const REDIS_PORT = 6_379;

/**
 * Reads a `REDIS_URL`: one server, a primary that Sentinels watch, or a Redis Cluster.
 *
 * - `redis://[user:password@]host[:port][/database]`
 * - `redis+sentinel://[user:password@]host[:port],…/name[/database][?sentinel_username=…&sentinel_password=…]`
 * - `redis+cluster://[user:password@]host[:port],…`
 *
 * and the same with `rediss` for TLS. `new URL` knows nothing of several hosts, hence a pattern.
 *
 * @throws Error with a sentence that fits after the variable's name, and repeats no password
 */
export function readRedisUrl(url: string): RedisPlace {
  const parts = /^redis(s?)(?:\+(\w+))?:\/\/(?:([^/@]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url);
  if (!parts) throw new Error(FORMS);
  const [, secure, kind, login = '', hosts = '', path = '', query = ''] = parts;
  if (kind === undefined) {
    if (!URL.canParse(url)) throw new Error(FORMS);
    return { kind: 'server', url };
  }
  const tls = secure === 's';
  if (kind === 'cluster') {
    if (path !== '') throw new Error('must name no database: a Redis Cluster has only number 0');
    return { kind, hosts: readHosts(hosts, REDIS_PORT), tls, ...readLogin(login) };
  }
  if (kind !== 'sentinel') throw new Error(FORMS);
  const [name = '', database = '0', ...rest] = path.split('/');
  if (name === '') {
    throw new Error(
      'must say which primary the Sentinels watch: redis+sentinel://host:26379,host:26379/mymaster',
    );
  }
  if (!/^\d{1,4}$/.test(database) || rest.length > 0) {
    throw new Error(
      'must end in the name of the primary and, at most, the number of a database: /mymaster/1',
    );
  }
  return {
    kind,
    hosts: readHosts(hosts, SENTINEL_PORT),
    name: decodeURIComponent(name),
    database: Number(database),
    tls,
    ...readLogin(login),
    sentinel: readSentinelLogin(query),
  };
}

function readHosts(list: string, defaultPort: number): { host: string; port: number }[] {
  return list.split(',').map((item) => {
    const [, six, name, port = String(defaultPort)] =
      /^(?:\[([\da-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/i.exec(item.trim()) ?? [];
    const host = six ?? name;
    if (host === undefined || Number(port) > 65_535) {
      throw new Error(`${FORMS}; "${item}" is not host:port`);
    }
    return { host, port: Number(port) };
  });
}

function readLogin(login: string): Login {
  const [username = '', ...password] = login.split(':');
  return { username: given(username), password: given(password.join(':')) };
}

function readSentinelLogin(query: string): Login {
  const values = new URLSearchParams(query);
  const unknown = [...values.keys()].find((key) => !['sentinel_username', 'sentinel_password'].includes(key));
  if (unknown !== undefined) {
    throw new Error(`must have no "${unknown}" after the ?, but sentinel_username or sentinel_password`);
  }
  return {
    username: values.get('sentinel_username') ?? undefined,
    password: values.get('sentinel_password') ?? undefined,
  };
}

function given(text: string): string | undefined {
  return text === '' ? undefined : decodeURIComponent(text);
}
