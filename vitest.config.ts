import { defineConfig } from 'vitest/config';

const conditions = ['source'];
const everywhere = '{packages/*/src,tools,demo,bench,test}/**';

/** Guests on two cores flake beside other work: tools/test.mjs runs the serial project alone, one file at a time, after the other. */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        resolve: { conditions },
        ssr: { resolve: { conditions } },
        test: {
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
          name: 'serial',
          include: [`${everywhere}/*.qemu.test.ts`],
          exclude: ['**/dist/**'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
