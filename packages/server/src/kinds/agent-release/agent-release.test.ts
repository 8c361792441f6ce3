import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentReleaseFacts, Enrolment } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../fleet/testing/simulated-agent.js';
import { askListener } from '../../fleet/testing/simulated-identity.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../testing/control-plane.js';

const topology = '/providers/virt8ra.topology/v1beta1';
const releases = `${topology}/agent-releases`;

/** A tarball with a description, as `npm run package` makes them, and nothing to run. */
function tarballOf(manifest: object | undefined): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'v8release-'));
  try {
    mkdirSync(join(folder, 'agent', 'bin'), { recursive: true });
    writeFileSync(join(folder, 'agent', 'LICENSE'), 'x'.repeat(12_000));
    if (manifest !== undefined) writeFileSync(join(folder, 'agent', 'RELEASE.json'), JSON.stringify(manifest));
    const { status } = spawnSync('tar', ['--sort=name', '-czf', join(folder, 'made.tar.gz'), '-C', folder, 'agent']);
    expect(status).toBe(0);
    return readFileSync(join(folder, 'made.tar.gz'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const described = (version: string, architecture = 'amd64') => ({ product: 'virt8ra-agent', version, architecture, build: 'b' });
const digestOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

interface Status {
  readonly state?: string;
  readonly phase?: string;
  readonly agentVersion?: string;
  readonly conditions: readonly { readonly message?: string }[];
}
const statusOf = ({ body }: Answer): Status | undefined => (body as { readonly status?: Status }).status;

describe('an agent release', () => {
  let plane: ControlPlane;
  let agent: SimulatedAgent;
  beforeAll(async () => {
    plane = await startControlPlane();
    agent = await plane.addSite('lodz');
  }, 120_000);
  afterAll(async () => await plane.stop(), 60_000);

  const bring = async (name: string, content: Buffer, sha256 = digestOf(content)): Promise<Status> => {
    const made = await plane.call('PUT', `${releases}/${name}`, { spec: { upload: { sizeBytes: content.length, sha256 } } });
    expect(made).toMatchObject({ status: 201, body: { status: { phase: 'waiting-for-content' } } });
    await plane.upload(`${releases}/${name}/content`, content);
    return await plane.until(`${releases}/${name}`, (answer) => {
      const status = statusOf(answer);
      return status !== undefined && ['ready', 'refused'].includes(status.phase ?? '') && status;
    });
  };
  const order = async (host: string, body: object): Promise<Answer> => await plane.call('POST', `${topology}/hosts/${host}/update`, body);

  it('says what it is by its own description', async () => {
    expect(await bring('new', tarballOf(described('0.2.0')))).toMatchObject({
      state: 'active',
      phase: 'ready',
      version: '0.2.0',
      architecture: 'amd64',
    });
  });

  it.each([
    ['what is no archive', Buffer.from('not an archive'), undefined, 'no RELEASE.json'],
    ['an archive of something else', tarballOf(undefined), undefined, 'no RELEASE.json'],
    ['another product', tarballOf({ ...described('1'), product: 'virt8ra-server' }), undefined, 'does not say product virt8ra-agent'],
    ['a version that is none', tarballOf(described('../../etc')), undefined, 'its version has not the form'],
    ['an architecture that is none', tarballOf(described('1', 'sparc')), undefined, 'neither amd64 nor arm64'],
    ['what was not announced', tarballOf(described('0.9.9')), 'a'.repeat(64), 'not what was announced'],
  ])('is refused when it is %s, with the reason', async (what, content, sha256, reason) => {
    const name = what.replaceAll(' ', '-');
    const status = await bring(name, content, sha256);
    expect(status).toMatchObject({ state: 'error', phase: 'refused' });
    expect(status.conditions[0]?.message).toContain(reason);
    expect((await plane.call('DELETE', `${releases}/${name}`)).status).toBe(202);
    await plane.until(`${releases}/${name}`, ({ status: code }) => code === 404);
  });

  it('is told to a host by an order, which the host alone says the end of', async () => {
    const content = tarballOf(described('0.3.0'));
    await bring('third', content);
    const { status, body } = await order('lodz-1', { version: '0.3.0' });
    expect(status).toBe(200);
    const given = (body as { readonly order: string }).order;
    await agent.until('it is told', () => agent.desired.agentRelease?.order === given);
    expect(agent.desired.agentRelease).toEqual({
      order: given,
      version: '0.3.0',
      sha256: digestOf(content),
      bytes: content.length,
      trialSeconds: 180,
    });

    const host = `${topology}/hosts/lodz-1`;
    expect(statusOf(await plane.call('GET', host))).toMatchObject({ update: { order: given, version: '0.3.0', phase: 'waiting' } });
    const problem = { code: 'internal', message: 'release 0.3.0 was tried and given up' };
    const at = '2026-01-01T00:00:00.000Z';
    const release: AgentReleaseFacts = {
      running: { version: '0.1.0', release: 'installed' },
      order: { order: given, version: '0.3.0', phase: 'failed', at, problem },
      lastFailed: { version: '0.3.0', at, problem },
    };
    agent.describe({ release });
    const seen = await plane.until(
      host,
      (answer) => (statusOf(answer) as { update?: { phase: string } } | undefined)?.update?.phase === 'failed' && answer,
    );
    expect(statusOf(seen)).toMatchObject({ update: { problem }, lastFailedUpdate: { version: '0.3.0', at, problem } });

    // Told again, it is another order; what was said of the one before is not said of this.
    const again = await order('lodz-1', { version: '0.3.0', trialSeconds: 30 });
    expect((again.body as { readonly order: string }).order).not.toBe(given);
    expect(statusOf(await plane.call('GET', host))).toMatchObject({ update: { phase: 'waiting' }, lastFailedUpdate: { version: '0.3.0' } });
  });

  it('is not told where nobody can carry it out: refused, and nothing changes', async () => {
    const old = await plane.addHost('old', 'lodz', { features: [] });
    await old.until('it is linked', () => old.connected);
    await plane.until(
      `${topology}/hosts/old`,
      (answer) => statusOf(answer)?.agentVersion !== undefined && 'inventory' in (statusOf(answer) ?? {}),
    );
    const refused = await order('old', { version: '0.3.0' });
    expect(refused).toMatchObject({
      status: 422,
      body: { code: 'unsupported', detail: expect.stringContaining('Install the package virt8ra-agent on the host once') },
    });
    expect(old.desired).not.toHaveProperty('agentRelease');
    await plane.addHost('arm', 'lodz', { facts: { architecture: 'arm64' } });
    await plane.until(`${topology}/hosts/arm`, (answer) => 'inventory' in (statusOf(answer) ?? {}));
    const { generation } = agent;
    for (const [host, body, detail] of [
      ['arm', { version: '0.3.0' }, 'there is no agent release 0.3.0 for arm64; there is 0.2.0 (amd64), 0.3.0 (amd64)'],
      ['lodz-1', { version: '7' }, 'there is no agent release 7 for amd64'],
      ['lodz-1', {}, 'version'],
      ['lodz-1', { version: '0.3.0', trialSeconds: 1 }, '5'],
    ] as const) {
      const answer = await order(host, body);
      expect(answer.status).toBe(422);
      expect(JSON.stringify(answer.body)).toContain(detail);
    }
    expect(agent.generation).toBe(generation);
  });

  it('stays to be had by the hosts that were told to run it, and by no others', async () => {
    const { sha256 } = agent.desired.agentRelease ?? { sha256: '' };
    expect((await plane.call('DELETE', `${releases}/third`)).status).toBe(202);
    await plane.until(`${releases}/third`, ({ status }) => status === 404);
    const { url } = (await plane.call('POST', `${topology}/hosts/lodz-1/enrol`)).body as Enrolment;
    const other = await plane.addHost('other', 'lodz');
    const fetched = async ({ identity }: SimulatedAgent): Promise<number> =>
      (await askListener(url, { method: 'GET', path: `/agent/v1/artifacts/${sha256}`, identity })).status;
    expect(await fetched(agent)).toBe(200);
    expect(await fetched(other)).toBe(404);

    // A machine that is set up anew under that name runs what was installed there.
    const anew = await plane.addHost('lodz-1', 'lodz');
    await anew.until('it is told what is desired', () => anew.generation > 0);
    expect(anew.desired).not.toHaveProperty('agentRelease');
    expect(statusOf(await plane.call('GET', `${topology}/hosts/lodz-1`))).not.toHaveProperty('update');
  });
});
