import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseConfig, type RunningAgent, silentLog, startAgent } from '@virt8ra/agent';
import type { Enrolment } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { type ControlPlane, startControlPlane } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const image = join(root, '.cache/guest/guest.qcow2');
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-img', '/usr/bin/tar', image].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const topology = '/providers/virt8ra.topology/v1beta1';
const workspace = 'tenants/default/workspaces/shop';
const instances = `/providers/seca.compute/v1/${workspace}/instances`;

/** As VMware writes it, of a machine with one disk. */
const descriptor = (fileBytes: number, capacity: number): string => `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:vmw="http://www.vmware.com/schema/ovf"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
<References><File ovf:href="web-disk1.vmdk" ovf:id="file1" ovf:size="${fileBytes}"/></References>
<DiskSection><Info>disks</Info><Disk ovf:capacity="${capacity}" ovf:diskId="vmdisk1" ovf:fileRef="file1"
 ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
<VirtualSystem ovf:id="web"><Info>a machine</Info><Name>web</Name><VirtualHardwareSection><Info>hardware</Info>
<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
<Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1024</rasd:VirtualQuantity></Item>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
<Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="bios"/></VirtualHardwareSection></VirtualSystem></Envelope>
`;

/** A real control plane, a real agent, and a machine that comes in as others write it down and goes out as others read it. */
describe.skipIf(lacks.length > 0)('a machine of another hypervisor', () => {
  let plane: ControlPlane;
  let agent: RunningAgent;
  let folder: string;

  const put = async (path: string, spec: unknown): Promise<void> => {
    const answer = await plane.call('PUT', path, { spec });
    if (answer.status !== 200 && answer.status !== 201) throw new Error(`PUT ${path}: ${JSON.stringify(answer.body)}`);
  };
  /** As a user does it. */
  const command = async (...words: string[]): Promise<string> => {
    const environment = { VIRT8RA_SERVER: plane.url, VIRT8RA_TOKEN: plane.token, VIRT8RA_TENANT: 'default', VIRT8RA_WORKSPACE: 'shop' };
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'packages/cli/dist/main.js'), ...words], {
      cwd: folder,
      env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...environment },
    });
    return stdout;
  };
  const untilSaid = async (text: RegExp, timeoutMs = 120_000): Promise<void> => {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const logs = readdirSync(join(folder, 'state', 'instances')).map((key) =>
        join(folder, 'state', 'instances', key, 'guest', 'serial.log'),
      );
      const said = logs.map((path) => (existsSync(path) ? readFileSync(path, 'utf8') : ''));
      if (said.some((each) => text.test(each))) return;
      if (Date.now() > end) throw new Error(`no guest ever said ${text}: ${said.map((each) => each.slice(-500)).join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'v8m-'));
    await chmod(folder, 0o711);
    execFileSync('qemu-img', ['convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', image, 'web-disk1.vmdk'], { cwd: folder });
    const { 'virtual-size': capacity } = JSON.parse(
      execFileSync('qemu-img', ['info', '--output=json', 'web-disk1.vmdk'], { cwd: folder, encoding: 'utf8' }),
    ) as { readonly 'virtual-size': number };
    const disk = readFileSync(join(folder, 'web-disk1.vmdk'));
    writeFileSync(join(folder, 'web.ovf'), descriptor(disk.length, capacity));
    const digest = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex');
    const lines = [`SHA256(web.ovf)= ${digest(readFileSync(join(folder, 'web.ovf')))}`, `SHA256(web-disk1.vmdk)= ${digest(disk)}`];
    writeFileSync(join(folder, 'web.mf'), `${lines.join('\n')}\n`);
    plane = await startControlPlane();
    await put(`${topology}/providers/test`, { displayName: 'Test', legalSeat: 'PL' });
    await put(`${topology}/accounts/test`, { providerRef: 'providers/test', driver: 'agent' });
    await put(`${topology}/sites/here`, { accountRef: 'accounts/test', country: 'PL', tier: 'edge' });
    await put(`${topology}/hosts/alpha`, { siteRef: 'sites/here' });
    const { body } = await plane.call('POST', `${topology}/hosts/alpha/enrol`);
    const { token, caSha256, url } = body as Enrolment;
    const given = {
      server: url,
      token,
      'ca-sha256': caSha256,
      state: join(folder, 'state'),
      network: 'user',
      'reserve-storage-gib': '0',
      'shutdown-seconds': '2',
    };
    agent = await startAgent(
      parseConfig(given, { VIRT8RA_AGENT_RUNTIME: join(folder, 'run') }, () => '', process.getuid?.() ?? 0),
      silentLog,
    );
    await put(`/providers/seca.workspace/v1/${workspace}`, {});
  }, 240_000);

  afterAll(async () => {
    for (const name of ['web', 'again']) await plane?.call('DELETE', `${instances}/${name}`);
    for (const name of ['web', 'again']) await plane?.until(`${instances}/${name}`, ({ status }) => status === 404, 60_000).catch(() => {});
    await agent?.stop();
    await plane?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }, 180_000);

  it('comes in as it was written down, boots, goes out with what it wrote, and comes in again as the same', {
    timeout: 400_000,
  }, async () => {
    const words = ['import', 'machine', 'web.ovf', '--site', 'here'];
    const plan = await command(...words, '--plan');
    expect(plan).toContain('+ instance       web  seca.xs, zone here');
    expect(plan).toContain('nothing is made yet');
    expect((await plane.call('GET', `${instances}/web`)).status).toBe(404);
    expect(await command(...words, '--start')).toContain('instance/web made');
    await untilSaid(/guest: ready .* boot 1 /);
    await command('restart', 'web', '--wait');
    await untilSaid(/guest: ready .* boot 2 /);
    await command('stop', 'web', '--wait');

    await command('export', 'instance', 'web', '--file', 'out.ova');
    expect(execFileSync('tar', ['-tf', 'out.ova'], { cwd: folder, encoding: 'utf8' })).toBe('web.ovf\nweb.mf\nweb-disk1.vmdk\n');
    const exported = await command('export', 'instance', 'web', '--format', 'vmdk', '--file', 'web.vmdk');
    expect(exported).toMatch(/^web\.vmdk: .*, sha256 [0-9a-f]{64}\n$/);
    expect(existsSync(join(folder, 'web.vmdk.part'))).toBe(false);
    expect(statSync(join(folder, 'web.vmdk')).size).toBeGreaterThan(1_000_000);

    expect(await command('import', 'machine', 'out.ova', '--name', 'again', '--site', 'here')).toContain('instance/again made');
    await command('wait', 'instance', 'again', '--for', 'state=active', '--timeout', '60s');
    const second = await command('export', 'instance', 'again', '--format', 'vmdk', '--file', 'again.vmdk');
    expect(second.split('sha256 ')[1]).toBe(exported.split('sha256 ')[1]);
    await command('start', 'again');
    await untilSaid(/guest: ready .* boot 3 /);
    expect(await command('get', 'backup-exports', '-o', 'name')).toBe('');
  });
});
