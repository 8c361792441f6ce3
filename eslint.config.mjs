// Only what needs types, which Biome does not have, and the words that stay in their driver's folder.
import tseslint from 'typescript-eslint';

const vendors = ['OpenNebula', 'OpenStack', 'Ionos', 'Arsys', 'Oktawave', 'Proxmox', 'Incus', 'Libvirt'];
// As a whole word of an identifier in any of the usual spellings, so that parSystem is no vendor.
const spellings = [
  ...vendors,
  ...vendors.map((name) => name[0] + name.slice(1).toLowerCase()),
  ...vendors.map((name) => name.toUpperCase()),
  ...vendors.flatMap((name) => [name.toLowerCase(), name[0].toLowerCase() + name.slice(1)].map((word) => `(^|[_$0-9])${word}`)),
].join('|');

export default tseslint.config(
  { ignores: ['**/dist/', '**/node_modules/', '.cache/'] },
  {
    files: ['{packages,demo,bench,test,tools}/**/*.ts'],
    languageOptions: { parser: tseslint.parser, parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { '@typescript-eslint': tseslint.plugin },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    // What lists the drivers names them.
    ignores: ['packages/drivers/src/*/**', 'packages/drivers/src/index.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        { selector: `Identifier[name=/${spellings}/]`, message: "A vendor's word stays in its driver's folder." },
      ],
    },
  },
);
