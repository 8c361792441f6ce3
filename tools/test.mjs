// `npm test [-- FILTER…]`: all tests, those that boot guests last and one file at a time. The last line is `N passed, N failed[, N skipped]`.
import { ensure, everySystemPart, progress, root } from './ensure.mjs';

process.chdir(root);
const say = progress();
if (!ensure({ npm: false, build: false, system: everySystemPart, say })) say('going on: tests that need these are skipped');
ensure({ build: false, say });

// Only now is it certain that vitest is installed.
const { parseCLI, startVitest } = await import('vitest/node');
const { filter, options } = parseCLI(['vitest', 'run', ...process.argv.slice(2)]);

const total = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} */
const skips = [];
/** Told again at the end, where whoever has only the tail of a long log finds them. @type {string[]} */
const failures = [];
const ownLines = (stack) => stack.split('\n').filter((line) => !/^\s+at .*node_modules/.test(line));
const note = (name, errors) =>
  failures.push([`failed: ${name}`, ...errors.flatMap((error) => ownLines(error.stack ?? error.message))].join('\n  '));

/** Runs one project of vitest.config.ts and adds what came of it to the total. */
async function runProject(project, more) {
  say(`${project} tests`);
  const vitest = await startVitest('test', filter, { ...options, ...more, run: true, watch: false, project, passWithNoTests: true });
  for (const module of vitest.state.getTestModules()) {
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (result.state === 'passed') total.passed += 1;
      else if (result.state === 'skipped') {
        total.skipped += 1;
        skips.push(`skipped: ${test.fullName}${result.note ? ` (${result.note})` : ''}`);
      } else {
        total.failed += 1;
        note(`${module.relativeModuleId} > ${test.fullName}`, result.errors ?? []);
      }
    }
    // A file that cannot be loaded, or a hook that failed outside any test.
    const broken = [module, ...module.children.allSuites()].filter((part) => part.errors().length > 0);
    total.failed += broken.length;
    for (const part of broken)
      note(part === module ? module.relativeModuleId : `${module.relativeModuleId} > ${part.fullName}`, part.errors());
  }
  const unhandled = vitest.state.getUnhandledErrors();
  total.failed += unhandled.length;
  if (unhandled.length > 0) note('an error nobody handled', unhandled);
  await vitest.close();
}

try {
  ensure({ npm: false, say });
} catch (error) {
  // Most tests run the sources and can still tell what is wrong.
  total.failed += 1;
  process.stdout.write(`${error instanceof Error ? error.message : error}\n`);
}
try {
  await runProject('parallel', {});
  await runProject('serial', { fileParallelism: false });
} catch (error) {
  total.failed += 1;
  process.stdout.write(`${error instanceof Error ? error.stack : error}\n`);
}

const ran = total.passed + total.failed;
for (const line of [...skips, ...failures]) process.stdout.write(`${line}\n`);
if (ran === 0) process.stdout.write('no test ran\n');
process.stdout.write(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}\n`);
process.exit(total.failed > 0 || ran === 0 ? 1 : 0);
