import { blockStorage, type InstanceSpec, instance, Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { referenceName } from '../output/columns.js';
import { addressOf, type Session, type Target, titleOf } from '../session.js';

export interface AttachFlags {
  readonly wait?: boolean;
  readonly timeout?: string;
}

/** Reads and writes again when someone else wrote meanwhile, so many times. */
const attempts = 5;

/**
 * Gives block storages to an instance as data volumes, or takes them from it; a running guest gets them, or is asked to let go of them, at once.
 * What is so already changes nothing. Raises `not-found` for a block storage to detach that the instance has not.
 */
export async function volumeAttach(
  session: Session,
  verb: 'attach' | 'detach',
  instanceName: string,
  disks: readonly string[],
  flags: AttachFlags,
): Promise<void> {
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  const target: Target = { kind: instance, address: addressOf(session, instance, instanceName.replace(/^instances?\//, '')) };
  const names = disks.map((disk) => disk.replace(/^[a-z-]+\//, ''));
  await change(session, target, (spec) => (verb === 'attach' ? withDisks(spec, names) : withoutDisks(spec, names, titleOf(target))));
  const done = verb === 'attach' ? 'attached to' : 'detached from';
  if (flags.wait === true) {
    await awaitGoal(
      session,
      target,
      { ...goalFromText('state=active'), text: verb === 'attach' ? 'get its disks' : 'let go of its disks' },
      { timeoutSeconds },
    );
  }
  const asked = flags.wait === true ? done : `to be ${done}`;
  for (const name of names)
    session.terminal.out(session.format === 'name' ? `block-storage/${name}\n` : `block-storage/${name} ${asked} ${titleOf(target)}\n`);
}

async function change(session: Session, target: Target, changed: (spec: InstanceSpec) => InstanceSpec | undefined): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const { labels, annotations, extensions, spec, metadata } = await session.client.get(instance, target.address);
    const next = changed(spec);
    if (next === undefined) return;
    const draft = {
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(extensions === undefined ? {} : { extensions }),
      spec: next,
    };
    try {
      const { resourceVersion } = metadata;
      await session.client.put(
        instance,
        target.address,
        draft,
        resourceVersion === undefined ? {} : { ifUnmodifiedSince: resourceVersion },
      );
      return;
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'precondition-failed' || attempt === attempts) throw error;
    }
  }
}

function withDisks(spec: InstanceSpec, names: readonly string[]): InstanceSpec | undefined {
  const has = new Set([spec.bootVolume, ...(spec.dataVolumes ?? [])].map(({ deviceRef }) => referenceName(deviceRef)));
  const added = names.filter((name) => !has.has(name)).map((name) => ({ deviceRef: `${blockStorage.collection}/${name}` }));
  return added.length === 0 ? undefined : { ...spec, dataVolumes: [...(spec.dataVolumes ?? []), ...added] };
}

function withoutDisks(spec: InstanceSpec, names: readonly string[], title: string): InstanceSpec {
  for (const name of names) {
    if (referenceName(spec.bootVolume.deviceRef) === name)
      throw new Problem('invalid-request', `block-storage/${name} is what ${title} boots from; it stays`);
    if (!(spec.dataVolumes ?? []).some(({ deviceRef }) => referenceName(deviceRef) === name))
      throw new Problem('not-found', `block-storage/${name} is no data volume of ${title}`);
  }
  return { ...spec, dataVolumes: (spec.dataVolumes ?? []).filter(({ deviceRef }) => !names.includes(referenceName(deviceRef) ?? '')) };
}
