import { basename } from 'node:path';
import type { ResourceOf } from '@virt8ra/client';
import { type ImportFinding, type InstanceImportSpec, instanceImport, Problem, type Reference, subnet } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { referenceName } from '../output/columns.js';
import { createLiveLine, type LiveLine } from '../output/live-line.js';
import { printResources } from '../output/print-resources.js';
import { bytesText } from '../output/units.js';
import { addressOf, type Session, type Target, titleOf } from '../session.js';
import { measured } from './file-content.js';
import { type MachinePackage, machinePackage } from './ovf-package.js';

export interface MachineImportFlags {
  readonly name?: string;
  readonly site?: string;
  readonly network?: readonly string[];
  readonly sku?: string;
  readonly storageSku?: string;
  readonly arch?: 'amd64' | 'arm64';
  readonly boot?: 'UEFI' | 'BIOS';
  readonly sha256?: string;
  readonly plan?: boolean;
  readonly start?: boolean;
  readonly timeout?: string;
}

type Import = ResourceOf<typeof instanceImport>;

/**
 * Makes an instance of a machine in an OVA, or in an OVF with its files beside it, on this machine or at a URL. What would be made is shown; with `plan` nothing
 * more. Repeated with the same file it goes on, as the flags are then; what was sent is not sent again.
 */
export async function machineImport(session: Session, source: string, flags: MachineImportFlags): Promise<void> {
  const { terminal, patientClient } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const name = flags.name ?? nameOf(source);
  const target: Target = { kind: instanceImport, address: addressOf(session, instanceImport, name) };
  const line = createLiveLine(terminal);
  let seen: Import | undefined;
  try {
    const networks = await networksOf(session, flags.network ?? []);
    const file = /^https?:\/\//.test(source) ? undefined : await machinePackage(terminal, source, line);
    const spec = specOf(file === undefined ? urlSource(source, flags) : uploadOf(file, flags), networks, flags);
    const { resource } = await patientClient.put(instanceImport, target.address, { spec });
    const { phase, conditions: [newest] = [] } = resource.status ?? {};
    if (file !== undefined && (phase === undefined || phase === 'waiting-for-content' || phase === 'receiving'))
      await send(session, target, file, line);
    // What an earlier PUT was told is no answer to this one.
    const before = newest?.lastTransitionAt;
    seen = (await awaitGoal(
      session,
      target,
      {
        ...goalFromText('phase=done'),
        text: flags.plan === true ? 'be planned' : 'be made',
        reached: (each) => isSettled(each as Import | undefined, before, resource.metadata.resourceVersion),
      },
      {
        timeoutSeconds,
        onSighting: ({ resource: each, progress }) => {
          const status = (each as Import | undefined)?.status;
          if (progress !== undefined && progress.phase === status?.phase) line.show(progress);
          else if (status?.phase !== undefined)
            line.show(measured(status.phase, status.receivedBytes ?? 0, status.totalBytes ?? 0, undefined, terminal.now()));
        },
      },
    )) as Import | undefined;
  } finally {
    line.end();
  }
  if (seen === undefined) throw new Problem('not-found', `${titleOf(target)} does not exist (any more)`);
  if (session.format === 'table' || session.format === 'wide') terminal.out(planText(seen));
  else await printResources(session, instanceImport, [seen], { single: true });
  const { phase, plan, findings = [] } = seen.status ?? {};
  const blocking = findings.find(({ severity }) => severity === 'blocks');
  if (phase === 'planned' && blocking !== undefined) throw new Problem('conflict', `nothing was made: ${blocking.what}; ${blocking.mend}`);
  if (session.format !== 'table' && session.format !== 'wide') return;
  if (phase === 'planned') terminal.out('nothing is made yet; make it: the same command without --plan\n');
  else
    terminal.out(
      `instance/${plan?.instance ?? name} made\n${flags.start === true ? '' : `  start it: virt8ra start ${plan?.instance ?? name}\n`}`,
    );
}

/** Over, or at a decision that was taken after this command's own PUT. */
function isSettled(each: Import | undefined, before: string | undefined, version: number | undefined): boolean {
  const { phase, conditions: [newest] = [] } = each?.status ?? {};
  if (phase === 'done') return true;
  if (phase !== 'planned' || newest?.type !== 'Planned') return false;
  return each?.metadata.resourceVersion !== version || newest.lastTransitionAt !== before;
}

function nameOf(source: string): string {
  const path = /^https?:\/\//.test(source) && URL.canParse(source) ? new URL(source).pathname : source;
  const name = basename(path)
    .replace(/\.(ova|ovf)$/i, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 60);
  if (name === '') throw new Problem('invalid-request', `no name can be made of ${source}; give one: --name`);
  return name;
}

function urlSource(url: string, { sha256 }: MachineImportFlags): InstanceImportSpec['source'] {
  if (sha256 === undefined) throw new Problem('invalid-request', 'a URL needs --sha256: what arrives is checked against it');
  return { url, sha256: sha256.toLowerCase() };
}

function uploadOf({ sizeBytes, sha256 }: MachinePackage, flags: MachineImportFlags): InstanceImportSpec['source'] {
  if (flags.sha256 !== undefined && flags.sha256.toLowerCase() !== sha256)
    throw new Problem('validation', `this is not the file you meant: its sha256 is ${sha256}`);
  return { upload: { sizeBytes, sha256 } };
}

function specOf(
  source: InstanceImportSpec['source'],
  networks: NonNullable<InstanceImportSpec['networks']>,
  flags: MachineImportFlags,
): InstanceImportSpec {
  const { site, sku, storageSku, arch, boot, start, plan } = flags;
  return {
    source,
    ...(site === undefined ? {} : { zone: site }),
    ...(sku === undefined ? {} : { skuRef: `skus/${sku.replace(/^skus\//, '')}` }),
    ...(storageSku === undefined ? {} : { storageSkuRef: `skus/${storageSku.replace(/^skus\//, '')}` }),
    ...(networks.length === 0 ? {} : { networks: [...networks] }),
    ...(arch === undefined ? {} : { cpuArchitecture: arch }),
    ...(boot === undefined ? {} : { boot }),
    ...(start === true ? { power: 'on' } : {}),
    ...(plan === true ? { planOnly: true } : {}),
  };
}

/** `THEIRS=OURS` or `THEIRS=OURS/SUBNET`. Raises `invalid-request` for a network that has not one subnet to choose. */
async function networksOf(session: Session, words: readonly string[]): Promise<NonNullable<InstanceImportSpec['networks']>> {
  const found: { source: string; subnetRef: Reference }[] = [];
  for (const word of words) {
    const at = word.lastIndexOf('=');
    const [source, place] = [word.slice(0, Math.max(at, 0)), word.slice(at + 1)];
    const [network = '', given] = place.replace(/^networks\//, '').split('/', 2);
    if (source === '' || network === '')
      throw new Problem('invalid-request', `--network is THEIRS=OURS or THEIRS=OURS/SUBNET, not ${word}`);
    const within = { ...addressOf(session, instanceImport, ''), network };
    const { name: _, ...place_ } = within;
    const subnets: string[] = [];
    if (given === undefined) for await (const each of session.client.list(subnet, place_)) subnets.push(each.metadata.name);
    const [only] = given === undefined ? subnets : [given];
    if (only === undefined || (given === undefined && subnets.length > 1))
      throw new Problem(
        'invalid-request',
        `network ${network} has ${subnets.length} subnets; name one: --network ${source}=${network}/SUBNET`,
      );
    found.push({ source, subnetRef: `networks/${network}/subnets/${only}` });
  }
  return found;
}

async function send(session: Session, { kind, address }: Target, file: MachinePackage, line: LiveLine): Promise<void> {
  const { terminal } = session;
  const startedAt = terminal.now();
  let first: number | undefined;
  await session.patientClient.upload(address, file, {
    kind,
    signal: terminal.signal,
    onProgress: (sent) => {
      first ??= sent;
      line.show(measured('upload', sent, file.sizeBytes, startedAt, terminal.now(), first));
    },
  });
}

const marks: Readonly<Record<ImportFinding['severity'], string>> = { blocks: 'BLOCKS', warns: 'warns ', info: 'info  ' };

/** What is made, one thing a line, and what a person should know. */
function planText({ status }: Import): string {
  const { plan, findings = [] } = status ?? {};
  if (plan === undefined) return '';
  const size = `${plan.vCPU} CPUs, ${bytesText(plan.memoryBytes)}, ${plan.boot}`;
  const lines = [
    `${plan.sourceName}${plan.os === undefined ? '' : ` (${plan.os})`}: ${size}`,
    `  + instance       ${plan.instance}  ${referenceName(plan.skuRef) ?? 'no size fits'}, zone ${plan.zone}`,
    ...plan.disks.flatMap(({ name, file, format, virtualSizeBytes, sizeGB }) => [
      ...(file === undefined ? [] : [`  + image          ${name}  from ${file} (${format ?? ''})`]),
      `  + block storage  ${name}  ${sizeGB} GB${file === undefined ? ', empty' : ` for ${bytesText(virtualSizeBytes)}`}`,
    ]),
    ...plan.nics.map(({ name, sourceNetwork, subnetRef }) =>
      name === undefined ? `  - NIC in ${sourceNetwork}` : `  + NIC            ${name}  ${sourceNetwork} → ${referenceText(subnetRef)}`,
    ),
    ...findings.flatMap(({ severity, what, mend }) => [
      `${marks[severity]}  ${what}`,
      ...(severity === 'info' ? [] : [`        → ${mend}`]),
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

function referenceText(reference: Reference | undefined): string {
  return reference === undefined ? '' : typeof reference === 'string' ? reference : reference.resource;
}
