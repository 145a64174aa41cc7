"""LivePortrait's face space of implicit 3D keypoints (Guo et al. 2024), which JoyVASA moves as well.

Written from the facts of its released files; state_dict keys are theirs, so the files load as they are.
"""
