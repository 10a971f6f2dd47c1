// Two words for the JavaScript clients of scripts/clients.sh: what has to be equal, and what has to be refused.

import assert from "node:assert/strict";

/** Ends the program unless both are deeply equal. */
export function equal(what, found, wanted) {
  assert.deepEqual(found, wanted, what);
}

/** Ends the program unless the promise is rejected by an error of this name, whose message holds `says`; gives it back. */
export async function refused(what, name, promise, says = "") {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    assert.equal(error.name, name, `${what}: ${error.message}`);
    assert.ok(error.message.includes(says), `${what}: expected "${says}" in "${error.message}"`);
    return error;
  }
  assert.fail(`${what}: expected ${name}, but it answered ${JSON.stringify(answer)}`);
}
