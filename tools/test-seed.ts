import fc from 'fast-check';
import { inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    /** What seeded tests draw from instead of their own fixed seeds (vitest.config.ts). */
    seed: number;
  }
}

// The one place where every seeded test finds it, whatever package it is in.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: inject('seed') });
