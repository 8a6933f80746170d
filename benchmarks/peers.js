// As peers.py, for npm's @vladmandic/face-api: node peers.js FACES.bin ROUNDS SIDE, in the folder
// where it is installed.
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const here = createRequire(path.join(process.cwd(), 'package.json'));
const tf = here('@tensorflow/tfjs');
const wasm = here('@tensorflow/tfjs-backend-wasm');
const faceapi = here('@vladmandic/face-api/dist/face-api.node-wasm.js');

async function main() {
  const [file, rounds, side] = process.argv.slice(2);
  wasm.setWasmPaths(path.join(path.dirname(here.resolve('@tensorflow/tfjs-backend-wasm')), path.sep));
  await tf.setBackend('wasm');
  await tf.ready();
  const folder = path.dirname(here.resolve('@vladmandic/face-api/package.json'));
  const network = faceapi.nets.faceExpressionNet;
  await network.loadFromDisk(path.join(folder, 'model'));
  const bytes = fs.readFileSync(file);
  const area = side * side;
  const answer = async (face) => {
    const grey = tf.tensor3d(bytes.subarray(face * area, (face + 1) * area), [+side, +side, 1], 'int32');
    const colour = tf.tile(grey, [1, 1, 3]);
    const found = await network.predictExpressions(colour);
    tf.dispose([grey, colour]);
    return found.asSortedArray()[0].expression;
  };
  const said = [];
  for (let face = 0; face < bytes.length / area; face++) said.push(await answer(face));
  const seconds = [];
  for (let round = 0; round < rounds; round++) {
    const start = process.cpuUsage();
    for (let face = 0; face < said.length; face++) await answer(face);
    const { user, system } = process.cpuUsage(start);
    seconds.push((user + system) / 1e6);
  }
  console.log(JSON.stringify({ said, seconds }));
}

main();
