import { defineConfig } from 'vitest/config';

// Tests named *.qemu.test.ts boot guests: tools/test.mjs runs them one file at a time after the others.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['{packages/*/src,tools,demo,bench,test}/**/*.test.ts'],
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
