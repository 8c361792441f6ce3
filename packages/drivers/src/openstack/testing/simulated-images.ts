import { createHash, randomUUID } from 'node:crypto';
import { pageOf, Refusal } from './refusal.js';
import type { Answered, Asked, Faults } from './wire.js';

interface SimulatedImage {
  readonly id: string;
  status: string;
  size: number | null;
  os_hash_value: string | null;
  content: Buffer | undefined;
  readonly fields: Record<string, unknown>;
}

export type SimulatedImages = ReturnType<typeof createSimulatedImages>;

/** Glance. */
export function createSimulatedImages({
  faults,
  slowMs,
  project,
}: {
  readonly faults: Faults;
  readonly slowMs: number;
  readonly project: string;
}) {
  const images = new Map<string, SimulatedImage>();
  /** Ids are never given twice. */
  const used = new Set<string>();
  const later = (work: () => void): void => void setTimeout(work, slowMs).unref();

  function fill(image: SimulatedImage, content: Buffer): void {
    image.content = content;
    image.status = 'active';
    image.size = content.length;
    image.os_hash_value = createHash('sha512').update(content).digest('hex');
  }
  function add(id: string, fields: Record<string, unknown>): SimulatedImage {
    const image: SimulatedImage = { id, status: 'queued', size: null, os_hash_value: null, content: undefined, fields };
    used.add(id);
    images.set(id, image);
    return image;
  }
  const shown = ({ id, status, size, os_hash_value, fields }: SimulatedImage) => ({
    id,
    status,
    size,
    min_disk: 0,
    virtual_size: null,
    disk_format: null,
    owner: project,
    ...fields,
    os_hash_algo: os_hash_value === null ? null : 'sha512',
    os_hash_value,
  });

  async function upload(image: SimulatedImage, { raw }: Asked): Promise<Answered> {
    if (image.status !== 'queued') throw new Refusal(409, `Image status transition from ${image.status} to saving is not allowed`, 'html');
    image.status = 'saving';
    const pieces: Buffer[] = [];
    try {
      for await (const piece of raw as AsyncIterable<Buffer>) pieces.push(piece);
    } catch {
      image.status = 'queued';
      throw new Refusal(400, 'the upload was cut', 'html');
    }
    fill(image, Buffer.concat(pieces));
    return { status: 204 };
  }

  function download({ content, size }: SimulatedImage, { headers }: Asked): Answered {
    if (content === undefined || size === null) return { status: 204 };
    const start = Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
    const breaksAt = faults.breakDownloadsAt[0];
    return {
      status: headers.range === undefined ? 200 : 206,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(size - start),
        ...(headers.range === undefined ? {} : { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
      },
      stream(response) {
        const told = faults.damageDownloads
          ? Buffer.from(content.map((octet, index) => (index === size - 1 ? octet ^ 1 : octet)))
          : content;
        if (breaksAt === undefined || breaksAt <= start) return void response.end(told.subarray(start));
        faults.breakDownloadsAt.shift();
        response.write(told.subarray(start, breaksAt), () => response.destroy());
      },
    };
  }

  return {
    version: '/v2',
    statusOf: (id: string) => images.get(id)?.status,
    /** An image of a server's disk; it is there after a while. */
    takeOf(from: string | undefined, name: string, metadata: Readonly<Record<string, string>>): string {
      const image = add(randomUUID(), { name, disk_format: 'qcow2', container_format: 'bare', image_type: 'snapshot', ...metadata });
      const content = Buffer.concat([images.get(from ?? '')?.content ?? Buffer.alloc(0), Buffer.from(' and what was written since')]);
      later(() => {
        image.status = 'saving';
        later(() => fill(image, content));
      });
      return image.id;
    },
    versions: (base: string) => ({
      versions: [
        { id: 'v2.15', status: 'CURRENT', links: [{ rel: 'self', href: `${base.replace(/\/\/[^/]+/, '//inside.test:9292')}/v2/` }] },
        { id: 'v2.0', status: 'SUPPORTED', links: [{ rel: 'self', href: `${base}/v2/` }] },
      ],
    }),
    async answer(asked: Asked): Promise<Answered> {
      const { method, path, query, body } = asked;
      if (method === 'POST' && path === '/images') {
        const id = typeof body?.['id'] === 'string' ? body['id'] : randomUUID();
        if (used.has(id)) throw new Refusal(409, `Image ID ${id} already exists!`, 'html');
        return { status: 201, body: shown(add(id, { ...body })) };
      }
      if (method === 'GET' && path === '/images') {
        const filters = [...query].filter(([name]) => name !== 'limit' && name !== 'marker');
        const found = [...images.values()].filter((image) =>
          filters.every(([name, value]) => String((shown(image) as Record<string, unknown>)[name]) === value),
        );
        const { page, next } = pageOf(found, query, 3);
        return { status: 200, body: { images: page.map(shown), ...(next === undefined ? {} : { next: `/v2/images?${next}` }) } };
      }
      const [, , id = '', below] = path.split('/');
      const image = images.get(id);
      if (image === undefined) throw new Refusal(404, `No image found with ID ${id}`, 'html');
      if (below === 'file' && method === 'PUT') return await upload(image, asked);
      if (below === 'file' && method === 'GET') return download(image, asked);
      if (method === 'GET') return { status: 200, body: shown(image) };
      if (method === 'PATCH') {
        if (asked.headers['content-type'] !== 'application/openstack-images-v2.1-json-patch')
          throw new Refusal(415, 'Unsupported Media Type', 'html');
        for (const { path: at, value } of body as unknown as readonly { path: string; value: unknown }[]) image.fields[at.slice(1)] = value;
        return { status: 200, body: shown(image) };
      }
      if (method === 'DELETE') {
        images.delete(id);
        return { status: 204 };
      }
      throw new Refusal(405, 'no', 'html');
    },
  };
}
