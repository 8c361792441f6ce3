import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Finding } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ConfigInput, parseConfig } from '../config.js';
import { chooseTunnelBackend } from '../overlay/tunnel-backend.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { examineHost } from './doctor.js';
import { writeSupportBundle } from './support-bundle.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8doctor-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const configOf = (state: string, more: ConfigInput = {}) =>
  parseConfig({ state, 'reserve-storage-gib': '0', ...more }, {}, () => '', process.getuid?.() ?? 0);
const of = (findings: readonly Finding[], check: string) => findings.find((each) => each.check === check);

describe('the doctor of a host', () => {
  it('says what a host lacks that was never enrolled, and makes nothing there', async () => {
    const findings = await examineHost(configOf(join(folder, 'state')));
    expect(of(findings, 'identity')).toMatchObject({ level: 'fail', mend: expect.stringContaining('virt8ra enrol') });
    expect(of(findings, 'state/agent')).toMatchObject({ level: 'warn' });
    expect(of(findings, 'host/kernel')).toMatchObject({ level: 'pass' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('says whether networks can span machines, and how to mend it where they cannot', async () => {
    const root = process.getuid?.() === 0;
    const { mode } = root ? await chooseTunnelBackend('doctor-test', 'auto', { mode: 'bridge' }) : { mode: 'user' };
    const look = async (more: ConfigInput) => of(await examineHost(configOf(folder, more)), 'network/overlay');
    const found = await look({});
    if (mode === 'none') expect(found).toMatchObject({ level: 'warn', mend: expect.stringContaining('wireguard') });
    else expect(found).toMatchObject({ level: 'pass', message: expect.stringContaining(root ? '8482' : 'user mode') });
    expect(await look({ overlay: 'off' })).toMatchObject({ level: 'pass', message: expect.stringContaining('switched off') });
  });

  it('names damage of the ledger and of the permit journal', async () => {
    writeFileSync(join(folder, 'ledger.json'), '{"version":1');
    writeFileSync(join(folder, 'permits.jsonl'), 'nonsense\n');
    const findings = await examineHost(configOf(folder));
    expect(of(findings, 'state/ledger')).toMatchObject({ level: 'fail', message: expect.stringContaining('ledger.json') });
    expect(of(findings, 'state/permits')).toMatchObject({ level: 'fail', message: expect.stringContaining('permits.jsonl:1') });
    expect(readFileSync(join(folder, 'permits.jsonl'), 'utf8')).toBe('nonsense\n');
  });

  it('sees an agent that runs, its way to the control plane and when that is gone, and ports that are taken', async () => {
    const plane = await FakeControlPlane.start();
    const agent = new AgentProcess(plane, 'alpha', await testFolder());
    const taken = createServer();
    try {
      agent.start();
      await plane.until('it is linked', () => plane.view('alpha').inventory);
      await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
      const port = (taken.address() as { port: number }).port;
      const config = configOf(agent.state, { 'data-address': '127.0.0.1', 'data-ports': `${port}-${port}` });
      const findings = await examineHost(config);
      expect(of(findings, 'state/agent')).toMatchObject({ level: 'pass', message: expect.stringContaining(String(agent.pid)) });
      expect(of(findings, 'network/control-plane')).toMatchObject({ level: 'pass' });
      expect(of(findings, 'host/clock')).toMatchObject({ level: 'pass' });
      expect(of(findings, 'identity/certificate')?.level).not.toBe('fail');
      expect(of(findings, 'network/data-ports')).toMatchObject({ level: 'fail', message: expect.stringContaining('EADDRINUSE') });
      await plane.stop();
      expect(of(await examineHost(config), 'network/control-plane')).toMatchObject({
        level: 'fail',
        mend: expect.stringContaining('reach'),
      });
    } finally {
      taken.close();
      await agent.destroy();
      await plane.stop();
    }
  });
});

it('packs a support bundle in which no planted secret is', async () => {
  const planted = 'PLANTED-0123456789';
  const state = join(folder, 'state');
  mkdirSync(join(state, 'identity'), { recursive: true });
  writeFileSync(join(state, 'identity', 'key.pem'), `-----BEGIN PRIVATE KEY-----\n${planted}\n-----END PRIVATE KEY-----\n`);
  const seed = { instanceId: 'i', hostname: 'web', userData: `#cloud-config\npassword: ${planted}`, sshKeys: [`ssh-ed25519 ${planted}`] };
  const instance = { key: 'res_1-g1', instance: 'res_1', name: 'web', seed };
  writeFileSync(
    join(state, 'ledger.json'),
    JSON.stringify({ version: 1, epoch: 'e', state: { generation: 3, instances: [instance] }, kept: [] }),
  );
  mkdirSync(join(state, 'instances', 'res_1-g1'), { recursive: true });
  writeFileSync(join(state, 'instances', 'res_1-g1', 'instance.json'), JSON.stringify({ key: 'res_1-g1', note: `--token ${planted}` }));
  const enrolment = { server: 'https://c:1', token: planted, 'ca-sha256': 'a'.repeat(64) };

  const file = join(folder, 'bundle.tar.gz');
  const parts = await writeSupportBundle(configOf(state, enrolment), file);
  expect(parts).toEqual(expect.arrayContaining(['doctor.json', 'agent.json', 'ledger.json', 'instances-res_1-g1.json', 'processes.txt']));
  execFileSync('tar', ['-xzf', file, '-C', folder]);
  const packed = readdirSync(join(folder, 'virt8ra-agent'));
  expect(packed.toSorted()).toEqual(parts.toSorted());
  for (const name of packed) expect(readFileSync(join(folder, 'virt8ra-agent', name), 'utf8'), name).not.toContain(planted);
  expect(readFileSync(join(folder, 'virt8ra-agent', 'ledger.json'), 'utf8')).toContain('"key": "res_1-g1"');
  await expect(writeSupportBundle(configOf(state), file)).rejects.toMatchObject({ kind: 'conflict' });
});
