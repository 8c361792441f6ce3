import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from '../testing/control-plane.js';

const inWorkspace = (provider: string, rest: string): string => `/providers/${provider}/tenants/default/workspaces/shop/${rest}`;
const guest = inWorkspace('seca.compute/v1', 'instances/guest');
const disk = inWorkspace('seca.storage/v1', 'block-storages/root');
const moves = inWorkspace('virt8ra.migration/v1beta1', 'migrations');

interface Seen {
  readonly status?: {
    readonly state?: string;
    readonly phase?: string;
    readonly activity?: { readonly value: string };
    readonly access?: readonly { readonly address: string }[];
  };
}
const status = ({ body }: Answer): Seen['status'] => (body as Seen).status;
const running = (answer: Answer): boolean => status(answer)?.activity?.value === 'running' && status(answer)?.state === 'active';
const phase = (wanted: string) => (answer: Answer) => status(answer)?.phase === wanted;

let plane: ControlPlane;
const agents = new Map<string, SimulatedAgent>();
const guests: Server[] = [];

beforeAll(async () => {
  plane = await startControlPlane();
  for (const site of ['alpha', 'beta']) {
    // What answers at a host is the guest at that site: it tells where it is and keeps the connection.
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(site);
    });
    guests.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    agents.set(site, await plane.addSite(site, { accessPort: () => port }));
  }
}, 120_000);
afterAll(async () => {
  for (const server of guests) server.close();
  await plane.stop();
}, 60_000);

async function put(path: string, spec: unknown, extensions?: Record<string, string>): Promise<void> {
  const { status: code, body } = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
  expect(code, JSON.stringify(body)).toBeLessThan(300);
}

/** A client that stays connected, and the site it reached. */
async function visit(address: string): Promise<{ readonly site: string; readonly gone: Promise<unknown>; readonly socket: Socket }> {
  const [host = '', port] = address.split(':');
  const socket = connect({ host, port: Number(port) });
  socket.on('error', () => undefined);
  const gone = new Promise((resolve) => socket.once('close', resolve));
  const [said] = (await once(socket, 'data')) as [Buffer];
  return { site: said.toString(), gone, socket };
}

describe('an access endpoint', { timeout: 90_000 }, () => {
  it('follows its instance as soon as it runs at the target, and back when the move is returned', async () => {
    const beta = agents.get('beta');
    if (beta === undefined) throw new Error('no beta');
    await put('/providers/seca.workspace/v1/tenants/default/workspaces/shop', {});
    await put(disk, { sizeGB: 1, skuRef: 'skus/rd100' });
    const spec = { zone: 'alpha', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/root' } };
    await put(guest, spec, { 'virt8ra.access': '80', 'virt8ra.power': 'on' });
    await plane.until(guest, running);
    const address = status(await plane.call('GET', guest))?.access?.[0]?.address ?? '';
    const before = await visit(address);
    expect(before.site).toBe('alpha');

    await put(`${moves}/there`, { instanceRef: 'instances/guest', toSite: 'beta', mode: 'warm' });
    const arrived = await beta.until('the arrived disk', () => beta.all('volume').find(({ state }) => state === 'arrived'));
    // Its proof is held up: the instance runs at the target while nothing is committed.
    beta.hold('volume', arrived.key);
    await before.gone;
    const during = await visit(address);
    expect(during.site).toBe('beta');
    expect(status(await plane.call('GET', `${moves}/there`))?.phase).not.toBe('done');

    expect((await plane.call('POST', `${moves}/there/cancel`)).status).toBe(202);
    await during.gone;
    const back = await visit(address);
    expect(back.site).toBe('alpha');
    beta.release('volume', arrived.key);
    await plane.until(`${moves}/there`, phase('returned'), 60_000);
    expect(back.socket.destroyed).toBe(false);

    await put(`${moves}/again`, { instanceRef: 'instances/guest', toSite: 'beta', mode: 'cold' });
    await plane.until(`${moves}/again`, phase('done'), 60_000);
    await back.gone;
    const after = await visit(address);
    expect(after.site).toBe('beta');
    after.socket.destroy();
  });
});
