import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, Sha256, statusShape } from '../shape.js';

const Architecture = Type.Union([Type.Literal('amd64'), Type.Literal('arm64')]);
const Boot = Type.Union([Type.Literal('UEFI'), Type.Literal('BIOS')]);
const Format = Type.Union([Type.Literal('qcow2'), Type.Literal('raw')]);

/** What may be sent. All but qcow2 and raw become a qcow2 disk here. */
export const diskFormats = ['qcow2', 'raw', 'vmdk', 'vhdx', 'vhd'] as const;
export type DiskFormat = (typeof diskFormats)[number];
const Initializer = Type.Union([Type.Literal('none'), Type.Literal('cloudinit-22')]);

/** SECA image. `blockStorageRef` names what it was made from: a block storage, or the image import that brought it in. */
export const image = defineKind({
  kind: 'image',
  provider: 'seca.storage',
  version: 'v1',
  collection: 'images',
  scope: 'tenant',
  summary: 'a disk to start block storages from',
  spec: Type.Object(
    {
      blockStorageRef: Reference,
      cpuArchitecture: Architecture,
      boot: Type.Optional(Boot),
      initializer: Type.Optional(Initializer),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    sizeMB: Type.Optional(Type.Integer({ minimum: 1 })),
    /** Content address in the artifact store. */
    sha256: Type.Optional(Sha256),
    /** What a guest sees, in bytes. */
    virtualSizeBytes: Type.Optional(Type.Integer({ minimum: 1 })),
    /** What the content has, in bytes. */
    fileBytes: Type.Optional(Type.Integer({ minimum: 1 })),
    format: Type.Optional(Format),
  }),
});
export type ImageSpec = Static<typeof image.spec>;

/**
 * Brings a disk into the artifact store and makes the image of the same name. With `source.upload` the bytes are sent to
 * `…/image-imports/NAME/content` (PATCH with `upload-offset`, HEAD tells how far it came); with `source.url` the control plane fetches them.
 */
export const imageImport = defineKind({
  kind: 'image-import',
  provider: 'virt8ra.image',
  version: 'v1beta1',
  collection: 'image-imports',
  scope: 'tenant',
  aliases: ['import', 'imports'],
  immutable: ['/source', '/format', '/cpuArchitecture', '/boot', '/initializer'],
  actions: ['cancel'],
  summary: 'brings a disk in and makes an image of it',
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
      /** What the content is. Absent: qcow2. A raw disk carries no mark of its own, so that its owner must say it. */
      format: Type.Optional(oneOf(diskFormats)),
      cpuArchitecture: Architecture,
      boot: Type.Optional(Boot),
      initializer: Type.Optional(Initializer),
    },
    { additionalProperties: false },
  ),
  status: statusShape({
    phase: Type.Optional(
      Type.Union([
        Type.Literal('waiting-for-content'),
        Type.Literal('receiving'),
        Type.Literal('inspecting'),
        Type.Literal('done'),
        Type.Literal('refused'),
      ]),
    ),
    receivedBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    totalBytes: Type.Optional(Type.Integer({ minimum: 0 })),
    imageRef: Type.Optional(Reference),
    /** What the content turned out to be; present when done. */
    artifact: Type.Optional(
      Type.Object({
        sha256: Sha256,
        format: Format,
        virtualSizeBytes: Type.Integer({ minimum: 1 }),
        fileBytes: Type.Integer({ minimum: 1 }),
      }),
    ),
  }),
});
export type ImageImportSpec = Static<typeof imageImport.spec>;
