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
	@node tools/resolve.ts etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok temporal temporal-ui helm

.PHONY: build
build: node_modules/.package-lock.json ## build the programs and the workflow bundle
	@node tools/build.ts

.PHONY: demo
demo: tools build ## upgrade a simulated cluster before your eyes (NODES=12, KEEP=1; CHAOS=1 SEED=7; BAD_IMAGE=1 or mend; SCENARIO=name)
	@node sim/demo/main.ts

.PHONY: scenarios
scenarios: node_modules/.package-lock.json ## the names of the scenarios of the demo, one a line
	@node sim/demo/scenarios/list.ts

.PHONY: test-scenarios
test-scenarios: tools build ## all scenarios of the demo, one after the other (minutes)
	@node sim/demo/scenarios/all.ts

.PHONY: crds
crds: node_modules/.package-lock.json ## generate the CRDs from the schemas
	node tools/generate-crds.ts

.PHONY: chart-docs
chart-docs: node_modules/.package-lock.json ## generate what in the chart is made from other files: its policies, the values in its README
	node tools/generate-chart.ts

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

.PHONY: test-node
test-node: tools build ## one node: whatever may befall its upgrade, at every step (EVENTS='cancel,node deleted'; minutes)
	@$(JEST) --selectProjects matrix

.PHONY: e2e
e2e: tools build ## the chart on real nodes, everything (root on Linux; packages: the error says which; minutes)
	@node tools/resolve.ts kubelet kube-proxy
	@$(JEST) --selectProjects real --runInBand

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

# What the targets below use. Flags of Helm in CHART_ARGS set further values of the chart.
KUBECTL ?= kubectl
export KUBECTL IMG AGENT_IMG CHART_ARGS GUARD
need-kubectl = @command -v $(KUBECTL) >/dev/null || { echo '$(KUBECTL) is missing: install kubectl, or name it by KUBECTL='; exit 1; }

CONTAINER_TOOL ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell command -v $(tool)),$(tool))))
VERSION ?= $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
agent-image = $(or $(AGENT_IMG),$(shell echo '$(IMG)' | sed 's/\(.*\):/\1-agent:/'))
# Of every file in an image: builds of the same sources are the same.
export SOURCE_DATE_EPOCH ?= 0
# buildah and podman do not read the variable.
IMAGE_TIME = $(if $(filter docker,$(notdir $(CONTAINER_TOOL))),,--timestamp=$(SOURCE_DATE_EPOCH))
need-images = @[ -n "$(IMG)" ] || { echo 'set IMG=REGISTRY/kairos-operator:TAG (and AGENT_IMG=, unless it is the same with -agent behind the name)'; exit 1; }; \
	[ -n "$(CONTAINER_TOOL)" ] || { echo 'docker, podman or buildah is needed: install one, or name it in CONTAINER_TOOL'; exit 1; }

.PHONY: docker-build
docker-build: build ## build both images (IMG=, AGENT_IMG=; CONTAINER_TOOL=docker, podman or buildah; IMAGE_ARGS=)
	$(need-images)
	@node tools/images/context.ts > /dev/null
	$(CONTAINER_TOOL) build $(IMAGE_TIME) --build-arg=VERSION=$(VERSION) --build-arg=REVISION=$(REVISION) $(IMAGE_ARGS) --tag=$(IMG) --file=deploy/images/operator/Dockerfile build/image/operator
	$(CONTAINER_TOOL) build $(IMAGE_TIME) --build-arg=VERSION=$(VERSION) --build-arg=REVISION=$(REVISION) $(IMAGE_ARGS) --tag=$(agent-image) --file=deploy/images/agent/Dockerfile build/image/agent

.PHONY: docker-push
docker-push: ## push both images (IMG=, AGENT_IMG=)
	$(need-images)
	$(CONTAINER_TOOL) push $(IMG)
	$(CONTAINER_TOOL) push $(agent-image)

.PHONY: sbom
sbom: build ## write what the images are made of to build/sbom (CycloneDX)
	@node tools/images/sbom.ts

.PHONY: chart
chart: node_modules/.package-lock.json ## write dist/kairos-operator, the chart without that of Temporal: installed without a network
	@mkdir -p dist
	@node tools/copy-chart.ts dist/kairos-operator

.PHONY: build-installer
build-installer: node_modules/.package-lock.json ## write dist/install.yaml from the chart (IMG=, AGENT_IMG=, CHART_ARGS=)
	@node tools/installer.ts

.PHONY: install
install: ## install the resource definitions into the cluster of your kubeconfig
	$(need-kubectl)
	$(KUBECTL) apply --server-side --filename=deploy/crds

.PHONY: uninstall
uninstall: ## delete the resource definitions, and with them all KairosNodes and NodeOpUpgrades
	$(need-kubectl)
	@! $(KUBECTL) get deployments --all-namespaces --selector=app.kubernetes.io/part-of=kairos-operator --output=name | grep -q . || \
	{ echo 'the operator is still deployed, and would lose what it works on: make undeploy first (or helm uninstall)'; exit 1; }
	$(KUBECTL) delete --ignore-not-found --filename=deploy/crds

.PHONY: deploy
deploy: build-installer ## install all into the cluster of your kubeconfig (IMG=, AGENT_IMG=, CHART_ARGS=)
	$(need-kubectl)
	$(KUBECTL) apply --server-side --filename=dist/install.yaml

.PHONY: undeploy
undeploy: node_modules/.package-lock.json ## delete all but the resource definitions, once no node is in hand (CHART_ARGS=; GUARD=0 does not wait)
	@node tools/undeploy.ts
