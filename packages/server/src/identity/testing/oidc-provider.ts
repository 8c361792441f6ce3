import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

/** A small OIDC issuer on loopback: discovery, keys, and tokens signed with whichever of them. */
export interface OidcProvider {
  readonly url: string;
  /** How often its keys were asked for. */
  readonly fetches: number;
  /** Makes a key and signs with it from now on; `keep` whether the ones before stay published. */
  rotate(kid: string, options?: { readonly keep?: boolean; readonly algorithm?: 'RS256' | 'ES256' | 'PS256' }): Promise<void>;
  sign(claims: JWTPayload, header?: { readonly kid?: string }): Promise<string>;
  /** Answers 503 to everything. */
  fail(failing: boolean): void;
  /** What discovery says of its own name. */
  callItself(name: string): void;
  /** Further endpoints, by path; undefined: 404. */
  answer(path: string, respond: (form: URLSearchParams) => { readonly status: number; readonly body: object }): void;
  stop(): Promise<void>;
}

export async function startOidcProvider(): Promise<OidcProvider> {
  let published: JWK[] = [];
  let signing:
    | { readonly kid: string; readonly alg: string; readonly key: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'] }
    | undefined;
  let fetches = 0;
  let failing = false;
  let ownName: string | undefined;
  const further = new Map<string, (form: URLSearchParams) => { readonly status: number; readonly body: object }>();
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    void bodyOf(request).then((text) => {
      const respond = further.get(path);
      const { status, body } = failing
        ? { status: 503, body: {} }
        : path === '/.well-known/openid-configuration'
          ? {
              status: 200,
              body: {
                issuer: ownName ?? url,
                jwks_uri: `${url}/keys`,
                device_authorization_endpoint: `${url}/device`,
                token_endpoint: `${url}/token`,
              },
            }
          : path === '/keys'
            ? { status: 200, body: { keys: published } }
            : (respond?.(new URLSearchParams(text)) ?? { status: 404, body: {} });
      if (path === '/.well-known/openid-configuration') fetches += 1;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const provider: OidcProvider = {
    url,
    get fetches() {
      return fetches;
    },
    async rotate(kid, { keep = true, algorithm = 'ES256' } = {}) {
      const pair = await generateKeyPair(algorithm, { extractable: true });
      const jwk = { ...(await exportJWK(pair.publicKey)), kid, alg: algorithm, use: 'sig' };
      published = keep ? [...published, jwk] : [jwk];
      signing = { kid, alg: algorithm, key: pair.privateKey };
    },
    async sign(claims, header = {}) {
      if (signing === undefined) throw new Error('no key yet');
      return await new SignJWT({ iss: url, ...claims })
        .setProtectedHeader({ alg: signing.alg, kid: signing.kid, ...header })
        .sign(signing.key);
    },
    fail(now) {
      failing = now;
    },
    callItself(name) {
      ownName = name;
    },
    answer: (path, respond) => void further.set(path, respond),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  await provider.rotate('first');
  return provider;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}
