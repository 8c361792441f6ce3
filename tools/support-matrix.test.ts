import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './ensure.mjs';
import { declarations, supportMatrix, withMatrix } from './support-matrix.mjs';

describe('the support matrix', () => {
  it('stands in the README as the drivers declare it', async () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    expect(readme).toBe(withMatrix(readme, supportMatrix(await declarations())));
  });

  it('gives a reason for what a driver lacks, and refuses a driver that declares what is not so', async () => {
    const [driver] = await declarations();
    if (driver === undefined) throw new Error('there is no driver');
    const connection = { ...driver.connection, networks: undefined };
    expect(() => supportMatrix([{ ...driver, connection }])).toThrow('has no networks, and declares otherwise');
    const lacks = { ...driver.lacks, networks: 'it has none' };
    expect(() => supportMatrix([{ ...driver, lacks }])).toThrow('has networks, and declares otherwise');
    expect(supportMatrix([{ ...driver, connection, lacks }])).toMatch(/^\| networks[^|]* \| no: it has none \|$/m);
  });
});
