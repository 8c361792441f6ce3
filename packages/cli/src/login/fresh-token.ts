import { Problem } from '@virt8ra/contract';
import { type Context, readContexts, writeContexts } from '../context/context-file.js';
import type { Terminal } from '../terminal.js';
import { refreshTokens } from './oidc-login.js';

/** A token is renewed when it has less left than this. */
const leftMs = 60_000;

/**
 * The token of a context, renewed and kept when it is about to run out. Raises `unauthorized` when its issuer renews it no more, and answers the old one,
 * for the server to judge, when the issuer cannot be reached.
 */
export async function freshToken(terminal: Terminal, name: string, context: Context): Promise<string> {
  const { login } = context;
  if (login === undefined || login.expiresAtMs - terminal.now() > leftMs) return context.token;
  const { refreshToken } = login;
  if (refreshToken === undefined) return context.token;
  const { configFolder } = terminal.environment;
  try {
    const tokens = await refreshTokens({ ...login, refreshToken }, { signal: terminal.signal, now: terminal.now });
    const file = await readContexts(configFolder);
    const renewed: Context = { ...context, token: tokens.token, login: loginOf({ ...login, ...tokens }) };
    await writeContexts(configFolder, { ...file, contexts: { ...file.contexts, [name]: renewed } });
    return tokens.token;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // Another command of ours may have renewed it at the same time: a refresh token often works once.
    const now = (await readContexts(configFolder)).contexts[name];
    if (now !== undefined && now.token !== context.token) return now.token;
    if (error.kind === 'unavailable') return context.token;
    throw error;
  }
}

/** What is kept of a login beside its token. */
export function loginOf({ name, issuer, clientId, expiresAtMs, refreshToken }: LoginFields): NonNullable<Context['login']> {
  return { name, issuer, clientId, expiresAtMs, ...(refreshToken === undefined ? {} : { refreshToken }) };
}

interface LoginFields {
  readonly name: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly expiresAtMs: number;
  readonly refreshToken?: string | undefined;
}
