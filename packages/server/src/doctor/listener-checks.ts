import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type Finding, found, lifetimeFinding } from '@virt8ra/contract';
import type { Config, ListenAddress } from '../config.js';
import { createOutbound } from '../outbound/outbound.js';
import { findListener, isTaken } from './listening-process.js';

const answerMs = 5_000;

/** Who stands where the API and the agents' listener belong. */
export async function checkListeners(config: Config): Promise<readonly Finding[]> {
  return [await checkApi(config), ...(await checkAgents(config))];
}

async function checkApi({ api }: Config): Promise<Finding> {
  const { listen, tls } = api;
  const check = 'listeners/api';
  if (listen.port === 0) return found(check, 'pass', 'any free port, chosen at the start');
  const place = `${listen.host}:${listen.port}`;
  if (!(await isTaken(listen.port)))
    return found(
      check,
      'warn',
      `nobody listens at ${place}`,
      'systemctl start virt8ra-server; journalctl -u virt8ra-server says why it ended',
    );
  const who = await nameOf(listen.port);
  if (tls !== undefined) return found(check, 'pass', `${who} listens at ${place}, by TLS`);
  // To this machine itself: no proxy stands before it.
  const ask = createOutbound({ proxies: {} }).send(new URL(`http://${dialled(listen)}/readyz`), { signal: AbortSignal.timeout(answerMs) });
  const answer = await ask.catch((error: Error) => error);
  if (!(answer instanceof Error)) answer.destroy();
  if (answer instanceof Error || !/json/.test(answer.headers['content-type'] ?? ''))
    return found(
      check,
      'fail',
      `${who} has port ${listen.port}, and is no control plane`,
      'end it, or choose another port with api.listen',
    );
  if (answer.statusCode === 200) return found(check, 'pass', `${who} is ready at ${place}`);
  return found(
    check,
    'fail',
    `${who} at ${place} is not ready: ${answer.statusCode}`,
    'see the database below, and journalctl -u virt8ra-server',
  );
}

async function checkAgents({ agents, stateDirectory }: Config): Promise<readonly Finding[]> {
  const { listen } = agents;
  const check = 'listeners/agents';
  if (listen.port === 0) return [found(check, 'pass', 'any free port, chosen at the start')];
  const place = `${listen.host}:${listen.port}`;
  if (!(await isTaken(listen.port)))
    return [found(check, 'warn', `nobody listens at ${place}`, 'start the server: agents cannot reach it')];
  const who = await nameOf(listen.port);
  const shown = await certificateAt(listen);
  if (shown === undefined)
    return [found(check, 'fail', `${who} has port ${listen.port}, and speaks no TLS`, 'end it, or choose another port with agents.listen')];
  const own = await readFile(join(stateDirectory, 'pki', 'ca.pem'), 'utf8').then(
    (pem) => new X509Certificate(pem),
    () => undefined,
  );
  if (own === undefined || !shown.verify(own.publicKey))
    return [
      found(
        check,
        'fail',
        `${who} at ${place} shows a certificate that the CA in ${join(stateDirectory, 'pki')} did not sign`,
        'agents will not trust it: end it, or name the state directory of the server that runs',
      ),
    ];
  const life = { from: Date.parse(shown.validFrom), until: Date.parse(shown.validTo), now: Date.now(), renews: true };
  return [
    found(check, 'pass', `${who} listens at ${place}`),
    lifetimeFinding(
      'listeners/agents-certificate',
      'the certificate of the agents’ listener',
      life,
      'the server renews it in the middle of its life; restart it',
    ),
  ];
}

async function nameOf(port: number): Promise<string> {
  const listener = await findListener(port);
  return listener === undefined ? 'a process of another user' : `${listener.name} (process ${listener.pid})`;
}

function dialled({ host, port }: ListenAddress): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  return `${name}:${port}`;
}

async function certificateAt(listen: ListenAddress): Promise<X509Certificate | undefined> {
  const { hostname: host, port } = new URL(`https://${dialled(listen)}`);
  return await new Promise((resolve) => {
    const socket = connect(
      { host: host.replace(/^\[|\]$/g, ''), port: Number(port || '443'), rejectUnauthorized: false, timeout: answerMs },
      () => {
        const { raw } = socket.getPeerCertificate() as { readonly raw?: Buffer };
        socket.destroy();
        resolve(raw === undefined ? undefined : new X509Certificate(raw));
      },
    );
    const end = (): void => {
      socket.destroy();
      resolve(undefined);
    };
    socket.once('error', end);
    socket.once('timeout', end);
  });
}
