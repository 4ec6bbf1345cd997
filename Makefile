SHELL := /bin/bash
.DEFAULT_GOAL := help
# Node 24 comes with the npm packages, whatever node the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
JEST := node --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

node_modules/.package-lock.json: package.json package-lock.json
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer, which brings npm'; exit 1; }
	@# Not `npm ci`: it refuses a lockfile that lacks the packages of other systems, which some registries do not offer.
	@npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: tools
tools: node_modules/.package-lock.json ## find or build etcd, Kubernetes, Temporal, kwok and helm (Go; minutes the first time)
	@node tools/resolve.ts etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok temporal helm

.PHONY: build
build: node_modules/.package-lock.json ## build the workflow bundle and the agent
	@node tools/build.ts

.PHONY: demo
demo: tools build ## upgrade a simulated cluster before your eyes (NODES=12, KEEP=1; CHAOS=1 SEED=7; BAD_IMAGE=1 or mend)
	@node sim/demo/main.ts

.PHONY: crds
crds: node_modules/.package-lock.json ## generate the CRDs from the schemas
	node tools/generate-crds.ts

.PHONY: format
format: node_modules/.package-lock.json ## format the sources
	prettier --write --log-level warn .

.PHONY: check
check: node_modules/.package-lock.json ## format, lint, unused code and types
	prettier --check --log-level warn .
	oxlint --type-aware --deny-warnings
	knip
	tsc --noEmit

.PHONY: test-unit
test-unit: node_modules/.package-lock.json ## tests that need no server
	$(JEST) --selectProjects unit

.PHONY: test-server
test-server: tools build ## tests on real servers
	$(JEST) --selectProjects server

.PHONY: test
test: check tools build ## everything: format, lint, types, unit, server and end-to-end tests
	@node tools/run-tests.ts

.PHONY: bench-kube
bench-kube: tools build ## the Kubernetes client under 10,000 faults (FAULTS=1000 SEED=7)
	@node bench/kube-faults.ts

.PHONY: bench-agent
bench-agent: node_modules/.package-lock.json ## the agent's memory over many looks (POLLS=20000; minutes)
	@node bench/agent-memory.ts

.PHONY: chaos
chaos: tools build ## the demo under chaos, many seeds in a row (SEEDS=20 SEED=1 NODES=6)
	@node sim/demo/chaos-seeds.ts

.PHONY: chart
chart: node_modules/.package-lock.json ## write dist/kairos-operator, the chart without that of Temporal: installed without a network
	@mkdir -p dist
	@node tools/copy-chart.ts dist/kairos-operator

.PHONY: build-installer
build-installer: chart ## write dist/install.yaml from the chart (IMG= AGENT_IMG=, each repository:tag)
	@[ -n "$(IMG)" ] && [ -n "$(AGENT_IMG)" ] || { echo 'set IMG and AGENT_IMG, each as repository:tag: no images are published yet'; exit 1; }
	@mkdir -p dist
	@set -euo pipefail; helm=$$(node tools/resolve.ts helm | cut -f2); operator=$(IMG) agent=$(AGENT_IMG); \
	{ cat deploy/operator/namespace.yaml; \
	"$$helm" template kairos-operator dist/kairos-operator --kube-version 1.36.3 --namespace kairos-system \
	--set-string "image.repository=$${operator%:*},image.tag=$${operator##*:}" \
	--set-string "agent.image.repository=$${agent%:*},agent.image.tag=$${agent##*:}"; } > dist/install.yaml.half \
	&& mv dist/install.yaml.half dist/install.yaml
	@echo dist/install.yaml
