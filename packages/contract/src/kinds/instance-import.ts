import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Name, oneOf, Reference, Sha256, statusShape, Zone } from '../shape.js';

export const importFindingSeverities = ['blocks', 'warns', 'info'] as const;

/** Something that a person should know before a machine is made: `blocks` is to be mended first, `warns` may keep the guest from working as it did. */
export const ImportFinding = Type.Object({
  code: Type.String({ maxLength: 64 }),
  severity: oneOf(importFindingSeverities),
  what: Type.String({ maxLength: 2048 }),
  /** Where in the package, or in what was asked. */
  where: Type.String({ maxLength: 512 }),
  mend: Type.String({ maxLength: 2048 }),
});
export type ImportFinding = Static<typeof ImportFinding>;

export const diskBuses = ['virtio', 'scsi', 'ide', 'sata', 'nvme', 'unknown'] as const;

/** What would be made, or was: the machine as its package says, joined with what was asked. */
export const InstanceImportPlan = Type.Object({
  instance: Name,
  /** Of the machine in the package. */
  sourceName: Type.String({ maxLength: 256 }),
  os: Type.Optional(Type.String({ maxLength: 256 })),
  vCPU: Type.Integer({ minimum: 1 }),
  memoryBytes: Type.Integer({ minimum: 1 }),
  boot: oneOf(['UEFI', 'BIOS']),
  /** The size that it gets; absent: none fits. */
  skuRef: Type.Optional(Reference),
  zone: Zone,
  /** Boot disk first. */
  disks: Type.Array(
    Type.Object({
      /** Of its image, where it has one, and of its block storage. */
      name: Name,
      /** Its file in the package; absent: it is empty. */
      file: Type.Optional(Type.String({ maxLength: 256 })),
      format: Type.Optional(oneOf(['qcow2', 'raw', 'vmdk', 'vhdx', 'vhd'])),
      fileBytes: Type.Optional(Type.Integer({ minimum: 1 })),
      virtualSizeBytes: Type.Integer({ minimum: 1 }),
      sizeGB: Type.Integer({ minimum: 1 }),
      bus: oneOf(diskBuses),
      /** Of the image's content, once it is there. */
      sha256: Type.Optional(Sha256),
    }),
  ),
  nics: Type.Array(
    Type.Object({
      sourceNetwork: Type.String({ maxLength: 256 }),
      /** MAC address that it had, where the package says it. */
      macAddress: Type.Optional(Type.String({ maxLength: 17 })),
      /** Absent: no network was given for it, and it is not made. */
      name: Type.Optional(Name),
      subnetRef: Type.Optional(Reference),
    }),
  ),
});
export type InstanceImportPlan = Static<typeof InstanceImportPlan>;

export const instanceImportPhases = ['waiting-for-content', 'receiving', 'reading', 'planned', 'converting', 'done', 'refused'] as const;
export type InstanceImportPhase = (typeof instanceImportPhases)[number];

/**
 * Brings a machine in that another hypervisor has written down as an OVA: images of its disks, block storages on them, NICs and an instance, all or
 * nothing. Its content is sent to `…/instance-imports/NAME/content`, or fetched from a URL. `status.plan` and `status.findings` say beforehand
 * what is made; with `planOnly` it stays at that until another PUT takes the word away. What the plan says follows a PUT without the content being
 * sent again. POST `cancel` ends it.
 */
export const instanceImport = defineKind({
  kind: 'instance-import',
  provider: 'virt8ra.migration',
  version: 'v1beta1',
  collection: 'instance-imports',
  scope: 'workspace',
  immutable: ['/source'],
  actions: ['cancel'],
  summary: 'brings a machine in from an OVA and makes an instance of it',
  spec: Type.Object(
    {
      source: Type.Union([
        Type.Object(
          { upload: Type.Object({ sizeBytes: Type.Integer({ minimum: 1 }), sha256: Sha256 }, { additionalProperties: false }) },
          { additionalProperties: false },
        ),
        Type.Object(
          { url: Type.String({ minLength: 8, maxLength: 2048, pattern: '^https?://' }), sha256: Sha256 },
          { additionalProperties: false },
        ),
      ]),
      /** Of the instance, and in front of its disks and NICs. Absent: that of the import. */
      instanceName: Type.Optional(Type.String({ minLength: 1, maxLength: 100, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' })),
      /** Where it is to be. Absent: any. */
      zone: Type.Optional(Zone),
      /** Its size. Absent: the smallest that has the CPUs and the memory it had. */
      skuRef: Type.Optional(Reference),
      /** Of its disks. Absent: the first of the catalogue that they may have. */
      storageSkuRef: Type.Optional(Reference),
      /** Networks of the package, by their names there, and the subnets that take their place. */
      networks: Type.Optional(
        Type.Array(
          Type.Object({ source: Type.String({ minLength: 1, maxLength: 256 }), subnetRef: Reference }, { additionalProperties: false }),
          { maxItems: 16 },
        ),
      ),
      /** Absent: amd64. */
      cpuArchitecture: Type.Optional(oneOf(['amd64', 'arm64'])),
      /** Absent: as the package says, or BIOS where it says nothing. */
      boot: Type.Optional(oneOf(['UEFI', 'BIOS'])),
      /** Whether the instance starts by itself. Absent: off. */
      power: Type.Optional(oneOf(['on', 'off'])),
      /** True: nothing is made. */
      planOnly: Type.Optional(Type.Boolean()),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    phase: Type.Optional(oneOf(instanceImportPhases)),
    receivedBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    totalBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    plan: Type.Optional(InstanceImportPlan),
    findings: Type.Optional(Type.Array(ImportFinding, { maxItems: 256 })),
    instanceRef: Type.Optional(Reference),
    /** Who asked last: what is made is made in their name. */
    askedBy: Type.Optional(Type.String({ maxLength: 256 })),
  }),
});
export type InstanceImportSpec = Static<typeof instanceImport.spec>;
