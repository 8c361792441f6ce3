import { createHash, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { type DesiredState, Problem } from '@virt8ra/contract';
import { backupHolds } from './backups/backup-holds.js';
import { BackupReconciler } from './backups/backup-reconciler.js';
import { BackupStore } from './backups/backup-store.js';
import type { AgentConfig } from './config.js';
import { Board } from './desired/board.js';
import { Converger } from './desired/converger.js';
import { listDesired } from './desired/first-look.js';
import { type HostObject, objectId, objectsOf } from './desired/host-object.js';
import { openLedger } from './desired/ledger.js';
import { LookAgain } from './desired/look-again.js';
import { sweepUnfinished } from './disk/atomic-file.js';
import { settleBallast } from './disk/ballast.js';
import { openQuarantine } from './disk/quarantine.js';
import { lockState } from './disk/state-lock.js';
import { openGuestDisks } from './guest-disks/open-guest-disks.js';
import { DedicatedCpus } from './hardware/dedicated-cpus.js';
import type { HostContext } from './host-context.js';
import { InstanceReconciler } from './instances/instance-reconciler.js';
import { InstanceStore } from './instances/instance-store.js';
import type { TransferClaims } from './instances/transfer-claims.js';
import { takeFindings } from './inventory/findings.js';
import { takeInventory } from './inventory/inventory.js';
import { enrol } from './link/enrol.js';
import { makeStateDirectory } from './link/enrol-host.js';
import { openIdentityStore, withWay } from './link/identity.js';
import { type Link, openLink } from './link/link.js';
import { keepRenewed } from './link/renewal.js';
import { LiveReconciler } from './live/live-reconciler.js';
import type { Log } from './log.js';
import { spawnedFetcher, spawnedMovers, spawnedUploader } from './mover/spawn.js';
import { chooseNetworking } from './network/choose-networking.js';
import { tapName } from './network/interface-name.js';
import { NetworkReconciler } from './network/network-reconciler.js';
import { openOverlay } from './overlay/open-overlay.js';
import { createPathProbes } from './paths/path-probes.js';
import { PciPassthrough } from './pci/passthrough.js';
import { hostPciSystem } from './pci/pci-system.js';
import { PermitBook } from './permits/permit-book.js';
import { openPermitJournal } from './permits/permit-journal.js';
import { probeHypervisor } from './qemu/probe.js';
import { openHostUpdater } from './release/open-host-updater.js';
import { measuredGuests } from './samples/measured-guests.js';
import { startSampling } from './samples/sampler.js';
import { isReverting } from './snapshots/snapshot-holds.js';
import { SnapshotReconciler } from './snapshots/snapshot-reconciler.js';
import { SnapshotStore } from './snapshots/snapshot-store.js';
import { folderBackEnd } from './storage/folder-back-end.js';
import { ImageCache } from './storage/image-cache.js';
import { mendVolumes } from './storage/mend-volumes.js';
import { ThinPoolBackEnd } from './storage/thin-pool-back-end.js';
import { VolumeReconciler } from './storage/volume-reconciler.js';
import { VolumeStore } from './storage/volume-store.js';
import { createStreams } from './streams/streams.js';
import { systemClock } from './system/boot-clock.js';
import type { TransferParts } from './transfer/transfer-notes.js';
import { TransferReconciler } from './transfer/transfer-reconciler.js';
import { TransferStore } from './transfer/transfer-store.js';

/** Every object is looked at after so long, whatever has or has not happened. */
const longestRestMs = 60_000;

export interface RunningAgent {
  readonly host: string;
  readonly link: Link;
  readonly board: Board;
  /** Resolves when this agent is to give way to another release of itself. */
  readonly switching: Promise<void>;
  /** Guests go on; a later agent adopts them. */
  stop(): Promise<void>;
}

/**
 * Starts the agent: state, adoption of running guests, convergence from the ledger, and the link. The order matters: nothing is said to the
 * control plane before this host knows what runs on it. Raises Problem conflict when another agent has the state directory.
 */
export async function startAgent(config: AgentConfig, log: Log): Promise<RunningAgent> {
  await makeStateDirectory(config);
  await settleBallast(config.stateDirectory);
  const lock = await lockState(config.stateDirectory);
  try {
    return await assemble(config, log, lock.release);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function assemble(config: AgentConfig, log: Log, unlock: () => Promise<void>): Promise<RunningAgent> {
  const state = (...parts: string[]) => join(config.stateDirectory, ...parts);
  for (const folder of [state(), state('identity')]) await sweepUnfinished(folder);
  const identities = openIdentityStore(config.stateDirectory);
  let identity = await identities.load();
  if (identity === undefined && config.enrol !== undefined) identity = await enrol(config.enrol, identities, log, config.proxies);
  if (identity === undefined) {
    throw new Problem(
      'unauthorized',
      `this host is not enrolled: ${state('identity')} holds no certificate. Run the command that \`virt8ra enrol\` prints.`,
    );
  }
  let self = withWay(identity, config.proxies);
  const clock = systemClock();
  const agentId = createHash('sha256').update(config.stateDirectory).digest('hex').slice(0, 10);
  const board = new Board();
  const quarantine = openQuarantine(config.stateDirectory, log);
  const ledger = await openLedger(state('ledger.json'), quarantine);
  const instanceStore = await InstanceStore.open(state('instances'), quarantine);
  const journal = await openPermitJournal(state('permits.jsonl'), {
    quarantine,
    expected: ledger.told || instanceStore.all().length > 0 || instanceStore.lost().length > 0,
    now: () => new Date(clock.wallMs()),
  });
  const permits = new PermitBook({ journal, signer: () => self, ca: self.ca, clock, marginMs: config.permitMarginSeconds * 1000 });
  const hypervisor = await probeHypervisor(state('hypervisor.json'), clock.bootId, config.root);
  const networking = await chooseNetworking(config, agentId);
  const dedicated = await DedicatedCpus.open(
    config.dedicatedCpus,
    () => new Map(instanceStore.all().flatMap(({ key, launch }) => (launch?.cpus === undefined ? [] : [[key, launch.cpus]]))),
  );
  const pci = await PciPassthrough.open(state('pci.json'), {
    system: hostPciSystem(config.root),
    allowances: config.pciDevices,
    release: config.pciRelease,
    quarantine,
    log,
  });
  log.info('the host was looked at', { accelerator: hypervisor.accelerator, reason: hypervisor.reason, networking });

  let link: Link | undefined;
  const context: HostContext = {
    config,
    log,
    clock,
    ledger,
    board,
    permits,
    hypervisor,
    networking,
    dedicated,
    pci,
    agentId,
    controlPlane: new X509Certificate(self.ca).fingerprint256,
    dataAddress: () => config.dataAddress ?? dataAddressFor(new URL(self.server), link?.localAddress),
    nudge: (object) => converger.nudge(object),
  };
  const { storage } = config;
  const backEnd = storage.type === 'directory' ? folderBackEnd(state('volumes')) : new ThinPoolBackEnd(storage, agentId, log);
  const volumeStore = await VolumeStore.open(state('volumes'), quarantine, backEnd);
  const transferStore = await TransferStore.open(state('transfers'), quarantine);
  const fetchArtifact = spawnedFetcher(() => self, log);
  const images = new ImageCache(state('images'), fetchArtifact, log);
  await images.open();
  const transferParts: TransferParts = {
    context,
    store: transferStore,
    volumes: volumeStore,
    identity: () => self,
    onProgress: (progress) => link?.progress(progress),
  };
  const transfers = new TransferReconciler(transferParts, spawnedMovers(log), async (sha256) => await images.held(sha256));
  const live = new LiveReconciler(transferParts);
  const backupStore = await BackupStore.open(state('backups'), quarantine);
  const snapshotStore = await SnapshotStore.open(state('snapshots'), quarantine);
  const holds = backupHolds(backupStore);
  const moves = (volumeKey: string) => transfers.moves(volumeKey) || holds.copies(volumeKey);
  const claims: TransferClaims = {
    claimOn: (key) => transfers.claimOn(key) ?? live.claimOn(key),
    keeps: (key) => live.keeps(key),
    isArriving: (key) => live.isArriving(key),
    moves,
    keptFromGuests: (volumeKey) => {
      if (holds.keepsFromGuests(volumeKey)) return 'to be copied for a backup';
      return isReverting(ledger, snapshotStore, volumeKey) ? 'to become what a snapshot kept' : undefined;
    },
  };
  const networks = await NetworkReconciler.open(context, quarantine);
  const instances = new InstanceReconciler(context, instanceStore, volumeStore, claims, networks);
  networks.useInstances({
    usesNetwork: (key) => instanceStore.all().some(({ launch }) => launch?.networkKeys.includes(key) === true),
    forwardsOf: (key) => instanceStore.get(key)?.forwards ?? [],
    isUp: (key) => instances.guest(key) !== undefined,
  });
  transfers.useInstances(instances);
  live.useInstances(instances);
  const volumes = new VolumeReconciler(context, volumeStore, images, instances, { moves }, transfers.rootDigest);
  const guestDisks = await openGuestDisks(transferParts, volumeStore, instances);
  const world = {
    users: instances,
    volumes: volumeStore,
    moves,
    settles: (volumeKey: string) => board.get('volume', volumeKey)?.state === 'settling',
  };
  const snapshots = new SnapshotReconciler(context, snapshotStore, world);
  const backups = new BackupReconciler(
    context,
    backupStore,
    { ...world, moves: (volumeKey) => transfers.moves(volumeKey) },
    spawnedUploader(() => self, log),
    (progress) => link?.progress(progress),
  );
  const updater = await openHostUpdater(config, fetchArtifact, log, () => link?.sendInventory());
  const overlay = await openOverlay(context, quarantine, {
    facts: () => link?.sendInventory(),
    report: (report) => link?.overlay(report),
  });

  const converger = new Converger(async ({ type, key }, signal) => {
    switch (type) {
      case 'network':
        return await networks.pass(key);
      case 'volume':
        return await volumes.pass(key, signal);
      case 'instance':
        return await instances.pass(key);
      case 'transfer':
        if (live.owns(key)) return await live.pass(key);
        return await transfers.pass(key).finally(() => guestDisks.arrived.pass(key));
      case 'filter':
        return await networks.passFilter(key);
      case 'backup':
        return await backups.pass(key, signal);
      case 'snapshot':
        return await snapshots.pass(key);
    }
  }, log);
  const present = (): HostObject[] => [
    ...networks.keys().map((key) => ({ type: 'network', key }) as const),
    ...volumes.keys().map((key) => ({ type: 'volume', key }) as const),
    ...instances.keys().map((key) => ({ type: 'instance', key }) as const),
    ...transferStore.all().map(({ id }) => ({ type: 'transfer', key: id }) as const),
    ...backups.keys().map((key) => ({ type: 'backup', key }) as const),
    ...snapshots.keys().map((key) => ({ type: 'snapshot', key }) as const),
  ];
  const everything = () => [
    ...new Map([...objectsOf(ledger.state), ...present(), ...board.objects()].map((object) => [objectId(object), object])).values(),
  ];
  const lookAgain = new LookAgain({
    converger,
    board,
    state: () => ledger.state,
    launched: () => instanceStore.all().flatMap(({ key, launch }) => (launch === undefined ? [] : [{ ...launch, key }])),
    everything,
  });
  board.watch((change) => {
    if (change.kind === 'removed') converger.forget(change.object);
    if (change.object.type === 'network') overlay.kick();
    lookAgain.seen(change);
  });
  const accept = async (epoch: string, desired: DesiredState) => {
    const before = ledger.state;
    const known = ledger.epoch === epoch;
    // Of a control plane that was restored and a journal that was lost, neither can vouch for the other.
    const vouches = ledger.epoch === null || ledger.epoch === epoch;
    const tunnels = JSON.stringify(ledger.state.overlay);
    if (!(await ledger.accept(epoch, desired, present()))) {
      log.warn('an older desired state was not taken over', { generation: desired.generation, have: ledger.state.generation });
      return;
    }
    log.debug('a desired state was taken over', { epoch, generation: desired.generation });
    if (vouches) for (const { instance, permit } of desired.instances) if (permit !== undefined) await permits.confirm(instance, permit);
    listDesired(board, ledger.state, networking.mode);
    if (JSON.stringify(desired.overlay) !== tunnels) overlay.kick();
    lookAgain.accepted(before);
    // What a control plane of another past desires may be the same and mean something else.
    if (!known) for (const object of everything()) converger.nudge(object);
  };

  const tapsOf = (key: string): readonly { readonly key: string; readonly tap: string }[] => {
    if (networking.mode !== 'bridge') return [];
    const nics = ledger.state.instances.find((each) => each.key === key)?.nics ?? [];
    return nics.map((nic) => ({ key: nic.key, tap: tapName(agentId, nic.key) }));
  };
  await instances.adopt();
  await mendVolumes(context, volumeStore);
  ledger.keep(present());
  await transfers.sweep();
  await guestDisks.inspections.sweep();
  listDesired(board, ledger.state, networking.mode);
  for (const object of everything()) converger.nudge(object);
  const sweep = setInterval(() => {
    for (const object of everything()) converger.nudgeAfter(object, longestRestMs);
  }, longestRestMs);
  const streams = createStreams({
    context,
    store: instanceStore,
    identity: () => self,
    guests: instances,
    inspect: async (key, maxAgeSeconds) => await guestDisks.inspections.of(key, maxAgeSeconds),
    isMoving: (key) => transfers.claimOn(key) !== undefined,
  });
  const probes = createPathProbes({ context, identity: () => self, tell: (id, outcome) => link?.pathProbe(id, outcome) });
  link = openLink({
    identity: () => self,
    bootId: clock.bootId,
    features: [
      'streams',
      'path-probes',
      ...guestDisks.features,
      ...(updater === undefined ? [] : (['update'] as const)),
      ...networking.features,
    ],
    board,
    generation: () => ledger.state.generation,
    told: () => ({ epoch: ledger.epoch, state: ledger.state }),
    accept: async (epoch, desired) => {
      await accept(epoch, desired);
      await updater?.follow(desired);
    },
    inventory: async () =>
      await takeInventory(context, volumeStore, {
        findings: await takeFindings(context, { instances: instanceStore, volumes: volumeStore, quarantine }),
        overlay: overlay.facts(),
        release: updater?.facts(),
        started: instanceStore.all().flatMap(({ launch }) => launch?.started ?? []),
      }),
    overlay: () => overlay.report(),
    openStream: streams.open,
    measurePath: probes.order,
    log,
  });
  const running = link;
  const stopSampling = startSampling(
    {
      room: volumeStore.room,
      guests: measuredGuests({
        guests: () => instances.guests(),
        volumeKeysOf: (key) => instanceStore.get(key)?.launch?.volumeKeys ?? [],
        tapsOf,
        transferredOf: (key) => {
          const move = ledger.state.transfers.find((each) => each.role === 'send' && each.instanceKey === key);
          return move === undefined ? undefined : board.get('transfer', move.id)?.bytes;
        },
      }),
      inside: () => networks.devices(),
      transferred: () => board.all('transfer').reduce((sum, { bytes }) => sum + bytes, 0),
      log,
    },
    (samples) => running.samples(samples),
  );
  const stopRenewal = keepRenewed(
    () => self,
    identities,
    (renewed) => {
      self = renewed;
    },
    log,
  );
  return {
    host: self.host,
    link,
    board,
    switching: updater?.switching ?? new Promise(() => {}),
    stop: async () => {
      clearInterval(sweep);
      await updater?.stop();
      stopRenewal();
      stopSampling();
      await running.stop();
      await streams.stop();
      await probes.stop();
      guestDisks.arrived.stop();
      await live.stop();
      await overlay.stop();
      await transfers.stop();
      await converger.stop();
      await journal.close();
      await unlock();
    },
  };
}

/** Where others reach this host: on one machine the loopback, else the address from which the control plane is reached. */
function dataAddressFor(server: URL, localAddress: string | undefined): string {
  if (['localhost', '127.0.0.1', '[::1]'].includes(server.hostname) || localAddress === undefined) return '127.0.0.1';
  return localAddress.replace(/^::ffff:/, '');
}
