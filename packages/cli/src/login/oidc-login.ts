import { type ExchangeRequest, exchange, rest } from '@virt8ra/client';
import { type LoginIssuer, Problem } from '@virt8ra/contract';

/** What an issuer gave. */
export interface IssuedTokens {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
  readonly refreshToken: string | undefined;
}

interface Endpoints {
  readonly token: string;
  readonly device: string | undefined;
  readonly revocation: string | undefined;
}

type Form = Readonly<Record<string, string>>;
type Json = Readonly<Record<string, unknown>>;

const timeoutSeconds = 10;
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

/**
 * Device authorization (RFC 8628): tells where to go with which code, and asks until somebody has been there. Raises `forbidden` when they said no, and
 * `unauthorized` when nobody came in time.
 */
export async function loginByDevice(
  { issuer, clientId, scopes, name }: LoginIssuer,
  { tell, signal, now }: { readonly tell: (text: string) => void; readonly signal: AbortSignal; readonly now: () => number },
): Promise<IssuedTokens> {
  const endpoints = await discover(issuer, signal);
  if (endpoints.device === undefined) throw new Problem('unsupported', `${name} (${issuer}) has no login by device code`);
  const { status, body } = await post(endpoints.device, { client_id: clientId, scope: scopes.join(' ') }, signal);
  const code = textOf(body, 'device_code');
  const userCode = textOf(body, 'user_code');
  const page = textOf(body, 'verification_uri');
  if (status !== 200 || code === undefined || userCode === undefined || page === undefined) throw refused(name, body);
  tell(`open ${textOf(body, 'verification_uri_complete') ?? page} and confirm the code ${userCode}\n`);
  const endsAt = now() + numberOf(body, 'expires_in', 600) * 1000;
  let pauseSeconds = numberOf(body, 'interval', 5);
  while (now() < endsAt) {
    await rest(pauseSeconds * 1000, signal);
    const answer = await post(endpoints.token, { grant_type: deviceGrant, device_code: code, client_id: clientId }, signal);
    if (answer.status === 200) return tokensFrom(answer.body, name, now());
    const error = textOf(answer.body, 'error');
    if (error === 'slow_down') pauseSeconds += 5;
    else if (error === 'expired_token') break;
    else if (error !== 'authorization_pending') throw refused(name, answer.body);
  }
  throw new Problem('unauthorized', `nobody confirmed the code at ${page} in time; log in again`);
}

/** Raises `unauthorized` when the issuer gives nothing for it any more. */
export async function refreshTokens(
  login: { readonly name: string; readonly issuer: string; readonly clientId: string; readonly refreshToken: string },
  { signal, now }: { readonly signal: AbortSignal; readonly now: () => number },
): Promise<IssuedTokens> {
  const { token } = await discover(login.issuer, signal);
  const form = { grant_type: 'refresh_token', refresh_token: login.refreshToken, client_id: login.clientId };
  const { status, body } = await post(token, form, signal);
  if (status >= 500) throw new Problem('unavailable', `${login.name} answers ${status}`);
  if (status !== 200) throw refused(login.name, body);
  const tokens = tokensFrom(body, login.name, now());
  return { ...tokens, refreshToken: tokens.refreshToken ?? login.refreshToken };
}

/** Has the issuer forget a refresh token (RFC 7009). False: it has no way to be told. */
export async function revokeToken(
  login: { readonly issuer: string; readonly clientId: string; readonly refreshToken: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { revocation } = await discover(login.issuer, signal);
  if (revocation === undefined) return false;
  const { status } = await post(
    revocation,
    { token: login.refreshToken, token_type_hint: 'refresh_token', client_id: login.clientId },
    signal,
  );
  return status === 200;
}

async function discover(issuer: string, signal: AbortSignal): Promise<Endpoints> {
  const { status, body } = await ask(
    `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
    { method: 'GET', headers: { accept: 'application/json' } },
    signal,
  );
  const token = textOf(body, 'token_endpoint');
  if (status !== 200 || textOf(body, 'issuer') !== issuer || token === undefined) {
    throw new Problem('unavailable', `${issuer} does not say where tokens are to be had (it answers ${status})`);
  }
  return { token, device: textOf(body, 'device_authorization_endpoint'), revocation: textOf(body, 'revocation_endpoint') };
}

async function post(url: string, form: Form, signal: AbortSignal): Promise<IssuerAnswer> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' };
  return await ask(url, { method: 'POST', headers, body: new URLSearchParams(form).toString() }, signal);
}

interface IssuerAnswer {
  readonly status: number;
  readonly body: Json;
}

/** Follows no redirect: what a token is for must not be sent on. */
async function ask(
  address: string,
  sent: Pick<ExchangeRequest, 'method' | 'headers' | 'body'>,
  signal: AbortSignal,
): Promise<IssuerAnswer> {
  if (!isSafe(address)) throw new Problem('invalid-request', `${address} is no https URL: tokens must not travel in the open`);
  const url = new URL(address);
  const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutSeconds * 1000)]);
  try {
    const { status, text } = await exchange({ ...sent, url, signal: within, timeoutSeconds, ca: undefined });
    return { status, body: jsonOf(text) };
  } catch (cause) {
    if (signal.aborted) throw new Problem('cancelled', 'interrupted', { cause });
    throw new Problem('unavailable', `${url.origin} cannot be reached: ${(cause as Error).message}`, { cause });
  }
}

function jsonOf(text: string): Json {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? (body as Json) : {};
  } catch {
    return {};
  }
}

function tokensFrom(body: Json, name: string, nowMs: number): IssuedTokens {
  const token = textOf(body, 'access_token');
  if (token === undefined) throw new Problem('unavailable', `${name} gave no access token`);
  return { token, expiresAtMs: nowMs + numberOf(body, 'expires_in', 300) * 1000, refreshToken: textOf(body, 'refresh_token') };
}

function refused(name: string, body: Json): Problem {
  const why = textOf(body, 'error_description') ?? textOf(body, 'error') ?? 'it does not say why';
  const kind = textOf(body, 'error') === 'access_denied' ? 'forbidden' : 'unauthorized';
  return new Problem(kind, `${name} gives no token: ${why.slice(0, 300)}`);
}

function textOf(body: Json, name: string): string | undefined {
  const value = body[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function numberOf(body: Json, name: string, otherwise: number): number {
  const value = Number(body[name]);
  return body[name] !== undefined && Number.isFinite(value) && value >= 0 ? value : otherwise;
}

function isSafe(url: string): boolean {
  const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: '', hostname: '' };
  return protocol === 'https:' || (protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname));
}
