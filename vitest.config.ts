import { defineConfig } from 'vitest/config';

const conditions = ['source'];
const everywhere = '{packages/*/src,tools,demo,bench,test}/**';

/** `VIRT8RA_SEED=N`: seeded tests draw from N instead of their own fixed seeds. `npm run soak` gives one after the other. */
const seed = process.env['VIRT8RA_SEED'];
if (seed !== undefined && !/^\d{1,9}$/.test(seed)) throw new Error(`VIRT8RA_SEED must be a whole number, not ${seed}`);
const seeded = seed === undefined ? {} : { setupFiles: ['tools/test-seed.ts'], provide: { seed: Number(seed) } };

/** Nothing is waited for by a clock; what does not come at all is to be told from a machine that is slow today. */
const expect = { poll: { timeout: 20_000 } };

/** Guests on two cores flake beside other work: tools/test.mjs runs the serial project alone, one file at a time, after the other. */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        resolve: { conditions },
        ssr: { resolve: { conditions } },
        test: {
          ...seeded,
          expect,
          name: 'parallel',
          include: [`${everywhere}/*.test.ts`],
          exclude: ['**/*.qemu.test.ts', '**/dist/**'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        resolve: { conditions },
        ssr: { resolve: { conditions } },
        test: {
          ...seeded,
          expect,
          name: 'serial',
          globalSetup: ['tools/test-guest.ts'],
          include: [`${everywhere}/*.qemu.test.ts`],
          exclude: ['**/dist/**'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
