import { BlockList, isIP } from 'node:net';
import { Problem } from '@virt8ra/contract/plain';

/** Which proxy, if any, stands before a URL. Plain data, so that it can be handed to another process. */
export interface Proxies {
  /** For https and wss. */
  readonly secure?: string;
  /** For http and ws. */
  readonly plain?: string;
  /** Hosts that are reached without one: names with all below them, addresses, ranges, each with `:PORT` or without; `*` is all. */
  readonly bypass?: string;
}

export interface GivenProxies {
  /** For everything; `none`: there is no proxy, whatever the environment says. Undefined: the environment's. */
  readonly proxy?: string | undefined;
  readonly noProxy?: string | undefined;
}

/** As configured, else by HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment, in either case of letters. Raises `validation`. */
export function proxiesFrom(given: GivenProxies, environment: Readonly<Record<string, string | undefined>>): Proxies {
  const variable = (name: string): string | undefined => environment[name] || environment[name.toLowerCase()] || undefined;
  const own = given.proxy === '' ? undefined : given.proxy;
  if (own === 'none') return {};
  if (own !== undefined) parseProxy(own, 'the proxy');
  const secure = own ?? variable('HTTPS_PROXY');
  const plain = own ?? variable('HTTP_PROXY');
  if (own === undefined && secure !== undefined) parseProxy(secure, 'HTTPS_PROXY');
  if (own === undefined && plain !== undefined) parseProxy(plain, 'HTTP_PROXY');
  const bypass = given.noProxy || variable('NO_PROXY');
  return {
    ...(secure === undefined ? {} : { secure }),
    ...(plain === undefined ? {} : { plain }),
    ...(bypass === undefined ? {} : { bypass }),
  };
}

/** The proxy to go through to `url`; undefined: none. What is on this machine is never asked of one. */
export function proxyFor(url: URL, proxies: Proxies): URL | undefined {
  const isSecure = url.protocol === 'https:' || url.protocol === 'wss:';
  const text = isSecure ? proxies.secure : proxies.plain;
  if (text === undefined) return undefined;
  const host = bareHost(url);
  if (isHere(host)) return undefined;
  const port = url.port === '' ? (isSecure ? '443' : '80') : url.port;
  return bypasses(proxies.bypass ?? '', host, port) ? undefined : parseProxy(text, 'the proxy');
}

/** As people may read it: without user and password. */
export function proxyText(proxy: URL): string {
  return `${proxy.hostname}:${proxy.port === '' ? '80' : proxy.port}`;
}

/** Without the brackets of IPv6. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function parseProxy(text: string, where: string): URL {
  const written = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  // The text itself stays unsaid: it may hold a password.
  if (url === undefined || url.protocol !== 'http:' || url.hostname === '')
    throw new Problem(
      'validation',
      `${where} must be http://[USER:PASSWORD@]HOST:PORT; it is spoken to by HTTP CONNECT and in no other way`,
    );
  return url;
}

function isHere(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function bypasses(list: string, host: string, port: string): boolean {
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => fits(entry.toLowerCase(), host.toLowerCase(), port));
}

function fits(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return inRange(entry, host);
  if (isIP(entry) !== 0) return sameAddress(entry, host);
  const [, bracketed, named, only] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
  if (only !== undefined && only !== port) return false;
  if (bracketed !== undefined) return sameAddress(bracketed, host);
  const name = (named ?? '').replace(/^\*?\./, '');
  return name !== '' && (host === name || host.endsWith(`.${name}`));
}

function inRange(range: string, host: string): boolean {
  const [address = '', prefix = ''] = range.split('/', 2);
  const family = isIP(address);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(address, Number(prefix), type);
  return list.check(host, type);
}

function sameAddress(left: string, right: string): boolean {
  return isIP(left) !== 0 && isIP(left) === isIP(right) && inRange(`${left}/${isIP(left) === 4 ? 32 : 128}`, right);
}
