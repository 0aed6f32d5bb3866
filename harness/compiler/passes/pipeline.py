"""The order of the passes: ours on what torch.export gave, then TVM's default lowering for a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import tvm
from tvm import relax

from harness.compiler.graph.origins import FuseOpsWithOrigins
from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.objects import WeightFile
from harness.compiler.observe.provenance import Site
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.passes.p11_fold_arithmetic import FoldArithmetic
from harness.compiler.passes.p12_channels_last import ChannelsLast
from harness.compiler.passes.p21_fuse_patterns import FusePatterns
from harness.compiler.passes.p22_pack_weights import PackWeights
from harness.compiler.passes.p23_place_results import PlaceResults
from harness.compiler.passes.p24_merge_kernels import MergeKernels
from harness.compiler.passes.p33_count_work import CountWork, MarkRest
from harness.compiler.passes.p41_link_weights import LinkWeights
from harness.compiler.passes.p42_record_sites import RecordSites
from harness.compiler.passes.p51_reuse_tensors import ReuseTensors, TrustKernels
from harness.compiler.schedule.rest import ScheduleRest
from harness.compiler.schedule.tuning import Tuning, tune_module
from harness.compiler.targets.profiles import Profile
from harness.protocol import Precision


@dataclass(frozen=True)
class Recipe:
    """What the pipeline is asked for besides the module.

    ``prefix``: of every symbol. ``ops``: the fused operators that the importer put into the module already.
    ``results``: see :class:`harness.models.spec.ModelFunction`. ``weights``: where linked weights go; None keeps
    them constants. ``instrumentation``: of the kernels; None for an archive without. ``sites`` is filled with the calls
    of kernels that the function makes. ``schedule_rest``: whether functions without a template are
    scheduled; without it they keep TVM's bare loops, to compare with.
    """

    profile: Profile
    precision: Precision
    prefix: str
    ops: OpTable
    results: Sequence[int | None] = ()
    weights: WeightFile | None = None
    schedule_rest: bool = True
    instrumentation: Instrumentation | None = None
    sites: list[Site] = field(default_factory=list)


def pipeline(target: tvm.target.Target, recipe: Recipe, tuning: Tuning | None = None) -> tvm.transform.Pass:
    t = relax.transform
    instrumentation = None if recipe.instrumentation is None else recipe.instrumentation.within(recipe.prefix)
    table = KernelTable(recipe.prefix, recipe.ops.origins, instrumentation=instrumentation)
    ours = [
        FoldArithmetic(),
        *([ChannelsLast(recipe.ops.origins), FoldArithmetic()] if recipe.schedule_rest else []),
        FusePatterns(recipe.ops),
        PackWeights(recipe.profile, recipe.precision, recipe.ops, table),
        PlaceResults(recipe.results, table),
        MergeKernels(table),
        t.DeadCodeElimination(),
    ]
    rest: list[tvm.transform.Pass] = [TuneRest(recipe.profile, target, table, tuning)] if tuning else []
    if recipe.schedule_rest:
        rest.append(ScheduleRest(recipe.profile, target, table.kernels))
    link = [] if recipe.weights is None else [LinkWeights(table, recipe.weights)]

    @tvm.transform.module_pass(opt_level=0, name="HarnessPipeline")
    def run(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        passes = [
            relax.backend.DispatchSampling(),
            relax.backend.DispatchSortScan(),
            *ours,
            t.LegalizeOps(),
            t.AnnotateTIROpPattern(),
            t.FoldConstant(),
            FuseOpsWithOrigins(recipe.ops.origins),
            t.FuseTIR(),
            FindReshapes(table),
            CountWork(table),
            *rest,
            *link,
            # ToNonDataflow makes new variables.
            RecordSites(table, recipe.sites),
            t.ToNonDataflow(),
            t.RemovePurityChecking(),
            t.CallTIRRewrite(),
            t.StaticPlanBlockMemory(),
            ReuseTensors(),
            t.LowerAllocTensor(),
            t.KillAfterLastUse(),
            t.LowerRuntimeBuiltin(),
            t.ComputePrimValue(),
            t.VMShapeLower(),
            TrustKernels(table),
            AttachSymbols(table),
            MarkRest(table),
        ]
        with target:
            return tvm.transform.Sequential(passes)(module)

    return run


@tvm.transform.module_pass(opt_level=0, name="TuneRest")
class TuneRest:
    """Functions without a template get the fastest schedule that MetaSchedule has found; see ``compiler/tuning.py``."""

    def __init__(self, profile: Profile, target: tvm.target.Target, table: KernelTable, tuning: Tuning) -> None:
        self.profile, self.target, self.table, self.tuning = profile, target, table, tuning

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        tune_module(module, self.target, self.profile, frozenset(self.table.kernels), self.tuning)
        return module


@tvm.transform.module_pass(opt_level=0, name="FindReshapes")
class FindReshapes:
    """relax.transform.RewriteDataflowReshape, which takes a kernel of one tensor for a reshape and stumbles over its
    body (TVM 0.27): it sees ours without."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        ours = {name: f for name, f in module.functions_items() if name.name_hint in self.table.kernels}
        for name, function in ours.items():
            module.update_func(name, function.with_body(tvm.tirx.Evaluate(0)))
        found = relax.transform.RewriteDataflowReshape()(module)
        for name, function in ours.items():
            found.update_func(name, function)
        return found


@tvm.transform.module_pass(opt_level=0, name="AttachSymbols")
class AttachSymbols:
    """relax.transform.AttachGlobalSymbol, which cannot rename functions that compute addresses (TVM 0.27): our kernels
    have their final names already and are kept out of its sight."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        functions = dict(module.functions_items())
        ours = {name: function for name, function in functions.items() if name.name_hint in self.table.kernels}
        theirs = tvm.IRModule({name: f for name, f in functions.items() if name not in ours}, attrs=module.attrs)
        named = relax.transform.AttachGlobalSymbol()(theirs)
        for name, function in ours.items():
            named[name] = function.with_attr("global_symbol", name.name_hint)
        return named
