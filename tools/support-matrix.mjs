// node tools/support-matrix.mjs [--write]: prints the support matrix, from what the drivers declare; --write puts it into README.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { facetNames } from '@virt8ra/driver';
import { createDrivers } from '@virt8ra/drivers';
import { root } from './ensure.mjs';

/** Facets in words that a customer knows. */
const meaning = {
  instances: 'instances',
  blockStorages: 'block storage',
  images: 'images: whole disks that go in and out',
  networks: 'networks with routes and names',
  securityGroups: 'security groups',
  disks: 'disks that are copied: moves from and to it',
  hosts: 'hosts with inventory and capacity',
  streams: 'consoles, screens and ports of instances',
  backups: 'backups into the artifact store',
  snapshots: 'snapshots of block storages',
};

/** Per driver: a configuration to open it with. */
const configurations = {
  agent: { site: 'example' },
  openstack: {
    site: 'example',
    settings: { authUrl: 'https://cloud.example/v3' },
    credentials: { applicationCredentialId: 'id', applicationCredentialSecret: 'secret' },
  },
};

const markers = ['<!-- support matrix: node tools/support-matrix.mjs --write -->', '<!-- /support matrix -->'];

/** Opens every driver without a provider behind it: what it offers is known before anything is asked. */
export async function declarations() {
  // Connecting asks nobody anything.
  const drivers = createDrivers({ agentFleet: /** @type {any} */ ({}), http: /** @type {any} */ ({}) });
  return await Promise.all(
    drivers.map(async (driver) => {
      const configuration = configurations[driver.name];
      if (configuration === undefined) throw new Error(`driver ${driver.name} is missing in tools/support-matrix.mjs`);
      const connection = await driver.connect(driver.parse(configuration));
      return { name: driver.name, summary: driver.summary, connection, lacks: driver.lacks };
    }),
  );
}

/** The table, one column per driver. Throws for a driver that declares other facets than it has. */
export function supportMatrix(drivers) {
  const row = (title, cell) => `| ${title} | ${drivers.map(cell).join(' | ')} |`;
  const limit = (title, cell) => row(title, ({ connection }) => cell(connection.capabilities));
  return [
    row('', ({ name, summary }) => `\`${name}\`: ${summary}`),
    row('---', () => '---').replaceAll(' ', ''),
    ...facetNames.map((facet) =>
      row(meaning[facet], ({ name, connection, lacks }) => {
        const has = connection[facet] !== undefined;
        if (has !== (lacks[facet] === undefined))
          throw new Error(`driver ${name} ${has ? 'has' : 'has no'} ${facet}, and declares otherwise`);
        return has ? 'yes' : `no: ${lacks[facet]}`;
      }),
    ),
    limit('moves', ({ migrationModes }) => migrationModes.join(', ') || 'none'),
    limit('firmware', ({ firmwares }) => firmwares.join(', ')),
    limit('block storages an instance', ({ maxVolumesPerInstance }) => maxVolumesPerInstance),
    limit('NICs an instance', ({ maxNicsPerInstance }) => maxNicsPerInstance),
    limit('run permits enforced at the site', ({ enforcesPermits }) => (enforcesPermits ? 'yes' : 'no')),
  ].join('\n');
}

/** A text with what stands between the markers replaced. */
export function withMatrix(text, matrix) {
  const [begin = '', end = ''] = markers;
  const from = text.indexOf(begin);
  const until = text.indexOf(end);
  if (from < 0 || until < from) throw new Error(`the text lacks ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n${matrix}\n${text.slice(until)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const matrix = supportMatrix(await declarations());
  const readme = join(root, 'README.md');
  if (process.argv.includes('--write')) writeFileSync(readme, withMatrix(readFileSync(readme, 'utf8'), matrix));
  else process.stdout.write(`${matrix}\n`);
}
