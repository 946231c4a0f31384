"""RoI heads that respect crowd regions."""

import torch
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Instances, pairwise_iou

from efficientps_d2.modeling.instance_heads.crowd import inside_crowd, split_crowd
from efficientps_d2.modeling.layers import fill_hidden_layers


@ROI_HEADS_REGISTRY.register()
class CrowdAwareROIHeads(StandardROIHeads):
    """Detectron2's RoI heads; proposals in crowd regions are neither positive nor negative."""

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        options = super()._init_box_head(cfg, input_shape)
        fill_hidden_layers(options["box_head"])
        return options

    @torch.no_grad()
    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]):
        """As in :class:`ROIHeads`, without unmatched proposals that lie in a crowd region."""
        kept_proposals, kept_targets = [], []
        for proposals_per_image, targets_per_image in zip(proposals, targets, strict=True):
            instances, crowd = split_crowd(targets_per_image)
            if len(crowd):
                boxes = proposals_per_image.proposal_boxes
                ignored = inside_crowd(boxes, crowd)
                if len(instances):
                    overlap = pairwise_iou(instances.gt_boxes, boxes).max(dim=0).values
                    ignored &= overlap < self.proposal_matcher.thresholds[1]
                proposals_per_image = proposals_per_image[~ignored]
            kept_proposals.append(proposals_per_image)
            kept_targets.append(instances)
        return super().label_and_sample_proposals(kept_proposals, kept_targets)
