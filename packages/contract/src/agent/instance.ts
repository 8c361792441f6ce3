import { type Static, Type } from 'typebox';
import { cpuPolicies, hugePageSizes } from '../kinds/sku.js';
import { oneOf } from '../shape.js';
import { FilterKey } from './filter.js';
import { HostObjectKey as Key } from './object-key.js';
import { DesiredPciDevice } from './pci-device.js';
import { Permit } from './permit.js';
import { DesiredRestart, longestStopSeconds } from './restart.js';

const closed = { additionalProperties: false } as const;
const Mac = Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' });

export const DesiredNic = Type.Object(
  {
    key: Key,
    networkKey: Key,
    mac: Mac,
    /** CIDR notation, such as 10.1.0.5/24. */
    addresses: Type.Array(Type.String({ maxLength: 43 }), { maxItems: 32 }),
    gateway4: Type.Optional(Type.String({ maxLength: 15 })),
    gateway6: Type.Optional(Type.String({ maxLength: 39 })),
    nameservers: Type.Array(Type.String({ maxLength: 39 }), { maxItems: 8 }),
    /**
     * Filters of the same network that hold for this NIC, before it ever comes up. Absent: everything passes. Empty: nothing does. Needs
     * agent feature `filters`.
     */
    filters: Type.Optional(Type.Array(FilterKey, { maxItems: 16 })),
    /** False lets the guest use other addresses than its own (a router). Absent: true where the agent has feature `anti-spoofing`. */
    antiSpoof: Type.Optional(Type.Boolean()),
    /** Most that may pass, in each direction. Needs agent feature `rates`. */
    rate: Type.Optional(
      Type.Object(
        {
          megabitsPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 800_000 })),
          packetsPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 200_000_000_000 })),
        },
        closed,
      ),
    ),
    /**
     * Addresses of the site's pool that are this NIC's outside, one to one. They work for subnets with a route to the internet. Needs agent
     * feature `public-addresses`.
     */
    publicAddresses: Type.Optional(
      Type.Array(
        Type.Object(
          {
            address: Type.String({ maxLength: 39 }),
            /** Which of the NIC's own; of the same version. */
            to: Type.String({ maxLength: 39 }),
          },
          closed,
        ),
        { maxItems: 16 },
      ),
    ),
  },
  closed,
);
export type DesiredNic = Static<typeof DesiredNic>;

export const DesiredInstance = Type.Object(
  {
    key: Key,
    /** Resource id: what permits are bound to, the same at every site. */
    instance: Type.String({ maxLength: 64 }),
    /** For logs and the guest's hostname. */
    name: Type.String({ maxLength: 128 }),
    architecture: Type.Union([Type.Literal('amd64'), Type.Literal('arm64')]),
    firmware: Type.Union([Type.Literal('BIOS'), Type.Literal('UEFI')]),
    vCPU: Type.Integer({ minimum: 1, maximum: 60 }),
    memoryMiB: Type.Integer({ minimum: 64 }),
    /** `dedicated`: each of its processors has a hardware thread for itself, of those that the host sets apart. Feature `dedicated-cpus`. */
    cpuPolicy: Type.Optional(oneOf(cpuPolicies)),
    /** Its memory is in huge pages of that size, all of it from the start. Feature `huge-pages`. */
    hugePages: Type.Optional(oneOf(hugePageSizes)),
    /** Of the host's devices, which it has for itself, each id once. Feature `pci-devices`. */
    pciDevices: Type.Optional(Type.Array(DesiredPciDevice, { minItems: 1, maxItems: 16 })),
    /** Versioned machine type and named CPU model of the first start; absent before it. */
    machine: Type.Optional(Type.String({ maxLength: 64 })),
    cpuModel: Type.Optional(Type.String({ maxLength: 64 })),
    power: Type.Union([Type.Literal('on'), Type.Literal('off')]),
    /** The guest is restarted once each time this grows. */
    restarts: Type.Integer({ minimum: 0 }),
    /** Boot volume first. */
    volumeKeys: Type.Array(Key, { minItems: 1, maxItems: 65 }),
    nics: Type.Array(DesiredNic, { maxItems: 17 }),
    seed: Type.Object(
      {
        /** cloud-init instance-id: kept for life, so that a move re-runs nothing. */
        instanceId: Type.String({ maxLength: 64 }),
        hostname: Type.String({ maxLength: 128 }),
        userData: Type.Optional(Type.String({ maxLength: 65536 })),
        /** Of the site's operator; user data goes before it. Feature `vendor-data`. */
        vendorData: Type.Optional(Type.String({ maxLength: 16384 })),
        sshKeys: Type.Array(Type.String({ maxLength: 4096 }), { maxItems: 32 }),
      },
      closed,
    ),
    /** A volume that a start from now on boots from, with the instance's own disks beside it at their places. Feature `rescue`. */
    rescueVolumeKey: Type.Optional(Key),
    /** TCP ports of the first NIC to make reachable at the host; what its filters refuse stays refused. */
    exposedPorts: Type.Array(Type.Integer({ minimum: 1, maximum: 65535 }), { maxItems: 64 }),
    /** Absent: must not run here. */
    permit: Type.Optional(Permit),
    /** Give up this epoch: stop the guest if it runs, journal, sign, report the surrender. */
    surrenderEpoch: Type.Optional(Type.Integer({ minimum: 1 })),
    /** Absent: `defaultRestart`. Feature `restart-policy`. */
    restart: Type.Optional(DesiredRestart),
    /** Seconds a guest has to shut down by itself before it is switched off; absent: the agent's own. Feature `stop-time`. */
    stopSeconds: Type.Optional(Type.Integer({ minimum: 0, maximum: longestStopSeconds })),
  },
  closed,
);
export type DesiredInstance = Static<typeof DesiredInstance>;
